"""What people have ordered to stop, and the count of their orders that every write is guarded by.

A process knows what is in force for a second at most and decides in memory. Where a write or an irreversible
call is put on record, the same statement compares the count that was decided by with the one that is: whoever
gives an order waits for the intents under way, and those after it find another count and write nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from textwrap import shorten

from django.db import connection

from tools.actors import plain_name
from tools.canonical import digest
from tools.clock import ticks
from tools.effects import Effect
from tools.switch import Switch, SwitchKind, SwitchState, Waiting

SAID = 200  # characters of a reason, in the sentence that a run waits with
KNOWN_FOR = 1.0  # seconds for which a process trusts what it has read
#: PostgreSQL: in this order, or the count would be older than the wait. A sequence shows what it is by now,
#: whenever the statement began, and no rollback takes it back.
COUNT = (
    "CASE WHEN pg_advisory_xact_lock_shared(7021, 1) IS NOT NULL"
    " THEN (SELECT last_value FROM tools_orders) END"
)
#: SQLite, where a transaction that writes is alone.
COUNT_SQLITE = "SELECT last_value FROM tools_orders"


@dataclass(frozen=True)
class Subject:
    """What is about to be done, as far as an order can name it; a model request has no tool and no effect."""

    tool: str = ""
    effect: str = ""
    agent: str = ""
    workflow: str = ""

    @property
    def changes_the_world(self) -> bool:
        """Whether its outcome matters outside Holdpoint: then no order may be missed."""
        return self.effect in (Effect.WRITE, Effect.IRREVERSIBLE)


@dataclass(frozen=True)
class Begun:
    """A tool call or a model request that is under way."""

    run_id: str
    step_id: str
    subject: Subject
    since: datetime


@dataclass(frozen=True)
class Stop:
    """A switch that is on."""

    id: str
    kind: str
    name: str
    reason: str
    by: str
    at: datetime

    def covers(self, subject: Subject) -> bool:
        """Whether it stops that."""
        if self.kind == SwitchKind.EVERYTHING:
            return True
        if self.kind == SwitchKind.EFFECT:
            return subject.effect in _stopped_with(self.name)
        asked = {"tool": subject.tool, "agent": subject.agent, "workflow": subject.workflow}
        return asked[self.kind] == self.name

    @property
    def scope(self) -> str:
        """What it stops, in words."""
        return scope_of(self.kind, self.name)

    @property
    def who(self) -> str:
        """Who gave the order, as people know them."""
        return plain_name(self.by)

    @property
    def said(self) -> str:
        """The reason, or how it begins."""
        return shorten(self.reason, SAID, placeholder=" …")

    @property
    def sentence(self) -> str:
        """What a run waits for."""
        since = f"{self.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return f"the release of the switch on {self.scope}, set by {self.who} at {since}: {self.said}"


def _stopped_with(effect: str) -> tuple[str, ...]:
    """No writes means nothing that changes the world; every other effect is stopped alone."""
    return (Effect.WRITE, Effect.IRREVERSIBLE) if effect == Effect.WRITE else (effect,)


def scope_of(kind: str, name: str) -> str:
    """What a switch of that kind and name stops, in words."""
    if kind == SwitchKind.EVERYTHING:
        return "everything"
    if kind == SwitchKind.EFFECT:
        return "all writes" if name == Effect.WRITE else f"all {name} calls"
    return f"{kind} {name}"


@dataclass(frozen=True)
class InForce:
    """The orders in force, as this process knows them."""

    count: int
    stops: tuple[Stop, ...]
    read_at: float

    def stop_for(self, subject: Subject) -> Stop | None:
        """The oldest switch that stops `subject`, or None."""
        return next((stop for stop in self.stops if stop.covers(subject)), None)


def waiting_for(stop: Stop, run_id: str, path: str, subject: Subject, since: datetime) -> Waiting:
    """The row, not saved, of a step that waits for the end of `stop`: one for each step and order."""
    row_id = digest([run_id, path, stop.id])
    named = {"tool": subject.tool, "effect": subject.effect, "order": stop.id}
    return Waiting(id=row_id, run_id=run_id, path=path, since=since, **named)


_known: InForce | None = None


def in_force(max_age: float = KNOWN_FOR) -> InForce:
    """The orders in force, read at most `max_age` seconds ago."""
    known = _known
    if known is not None and ticks() - known.read_at < max_age:
        return known
    return read()


def read() -> InForce:
    """The orders in force now. In a transaction that locks a run, only where `share` was called before."""
    global _known
    began, count, known = ticks(), share(), _known
    # The count first: an order given after it makes the guard fail, never pass.
    if known is not None and known.count == count:
        _known = replace(known, read_at=began)
    else:
        _known = InForce(count, _stops(), began)
    return _known


def _stops() -> tuple[Stop, ...]:
    rows = Switch.objects.filter(state=SwitchState.ON).order_by("at", "id")
    return tuple(Stop(row.id, row.kind, row.name, row.reason, row.by, row.at) for row in rows)


def forget() -> None:
    """Read anew at the next question."""
    global _known
    _known = None


def share() -> int:
    """The count of orders; until the end of the transaction, if there is one, nobody gives another.

    Whoever locks a run as well does this first.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {COUNT}" if connection.vendor == "postgresql" else COUNT_SQLITE)
        count: int = cursor.fetchone()[0]
    return count


def give() -> None:
    """In the transaction of an order, before anything else: wait for the intents under way and let no other
    one pass that was decided by the orders of before. Whoever gives orders locks no run.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_advisory_xact_lock(7021, 1)")
            cursor.execute("SELECT nextval('tools_orders')")
        else:
            cursor.execute("UPDATE tools_orders SET last_value = last_value + 1")
