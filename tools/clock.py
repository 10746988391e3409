"""Only the database's clock counts: machines that disagree about the time still agree about what is due."""

from __future__ import annotations

import time
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


def ticks() -> float:
    """Seconds for measuring how long: they never run backwards and, where the system can tell, go on while
    the machine sleeps, so that a lease ends for a suspended worker too.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
