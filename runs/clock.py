"""Only the database's clock counts: workers on many machines never compare times of their own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import DateTimeField, Func


class ClockTimestamp(Func):
    """The database's time at this moment, not at the start of the transaction."""

    function = "CLOCK_TIMESTAMP"
    output_field = DateTimeField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:
        return SQLITE_CLOCK, []


SQLITE_CLOCK = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"


def db_now() -> datetime:
    """The database's time, in UTC, read now.

    With SQLite the database is in this process, so its clock is this machine's.
    """
    if connection.vendor == "sqlite":
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


@dataclass(frozen=True)
class TurnClock:
    """The database's time at a claim, carried on by the monotonic clock of this process."""

    at_claim: datetime
    monotonic: float

    @classmethod
    def started(cls, at_claim: datetime) -> TurnClock:
        return cls(at_claim.astimezone(UTC), time.monotonic())

    def now(self) -> datetime:
        return self.at_claim + timedelta(seconds=time.monotonic() - self.monotonic)
