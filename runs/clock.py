"""Only the database's clock counts: workers on many machines never compare times of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import DateTimeField, Func

from tools.clock import db_now, ticks

__all__ = ["SQLITE_CLOCK", "ClockTimestamp", "TurnClock", "db_now", "ticks"]


class ClockTimestamp(Func):
    """The database's time at this moment, not at the start of the transaction."""

    function = "CLOCK_TIMESTAMP"
    output_field = DateTimeField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, tuple[str | int, ...]]:
        return SQLITE_CLOCK, ()


SQLITE_CLOCK = "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"


@dataclass(frozen=True)
class TurnClock:
    """The database's time at a claim, carried on by the ticks of this machine."""

    at_claim: datetime
    started_ticks: float

    @classmethod
    def started(cls, at_claim: datetime) -> TurnClock:
        return cls(at_claim.astimezone(UTC), ticks())

    def now(self) -> datetime:
        return self.at_claim + timedelta(seconds=ticks() - self.started_ticks)

    def after(self, seconds: float) -> datetime:
        """The moment `seconds` from now."""
        return self.now() + timedelta(seconds=seconds)
