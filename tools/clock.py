"""Only the database's clock counts: machines that disagree about the time still agree about what is due."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connection


def db_now() -> datetime:
    """The database's time at this moment (not at the start of the transaction), in UTC.

    SQLite has no clock of its own: there it is this machine's.
    """
    if connection.vendor != "postgresql":
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment.astimezone(UTC)
