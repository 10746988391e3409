"""Rows that protect the other side of a tool: its breaker, its limit, and the calls that stand in line."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from django.db import models
from django_fsm import FSMField, transition

from tools.breaker import BreakerState, Circuit, Window
from tools.states import StateModel

_REST = (BreakerState.OPEN.value, BreakerState.HALF_OPEN.value)


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _moment(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


class ToolBreaker(StateModel):
    """The breaker of one tool, shared by all workers. A tool has none before its first calls were told."""

    tool = models.CharField(primary_key=True, max_length=64)
    state = FSMField(
        default=BreakerState.CLOSED.value,
        protected=True,
        choices=[(state.value, state.value) for state in BreakerState],
    )
    reason = models.TextField(blank=True, help_text="Why it opened last.")
    retry_at = models.DateTimeField(null=True, help_text="When its rest is over.")
    trips = models.PositiveIntegerField(default=0, help_text="How often it opened since it was last closed.")
    probe = models.CharField(max_length=64, blank=True, help_text="The key of the call that is out to see.")
    probe_until = models.DateTimeField(null=True, help_text="When that call is given up.")
    window = models.JSONField(null=True, help_text="Calls lately: tenth, ok, slow, failed.")
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name = "breaker"
        permissions = [("move_toolbreaker", "Can open and close the breaker of a tool by hand")]

    def __str__(self) -> str:
        return f"{self.tool}: {self.state}"

    @transition(field=state, source=BreakerState.CLOSED.value, target=BreakerState.OPEN.value)
    def trip(self) -> None:
        """Too many calls failed, or a person opened it."""

    @transition(field=state, source=list(_REST), target=BreakerState.HALF_OPEN.value)
    def look(self) -> None:
        """One call goes out to see."""

    @transition(field=state, source=list(_REST), target=BreakerState.OPEN.value)
    def rest(self) -> None:
        """It rests, or rests again."""

    @transition(field=state, source=list(_REST), target=BreakerState.CLOSED.value)
    def close(self) -> None:
        """The call that was out to see came back well, or a person closed it."""

    @property
    def circuit(self) -> Circuit:
        """The row as the values that decide."""
        return Circuit(
            BreakerState(self.state),
            Window.heard(self.window),
            self.reason,
            _seconds(self.retry_at),
            self.trips,
            self.probe,
            _seconds(self.probe_until),
        )

    def take(self, after: Circuit, at: datetime) -> None:
        """Become as `after` says; the state moves by its transition. Not saved."""
        if after.state is not self.circuit.state or after.state is BreakerState.HALF_OPEN:
            tripped = self.state == BreakerState.CLOSED
            verbs = {
                BreakerState.OPEN: self.trip if tripped else self.rest,
                BreakerState.HALF_OPEN: self.look,
                BreakerState.CLOSED: self.close,
            }
            verbs[after.state]()
        self.window = after.window.told() or None
        self.reason, self.trips, self.probe = after.reason, after.trips, after.probe
        self.retry_at, self.probe_until = _moment(after.retry_at), _moment(after.probe_until)
        self.changed_at = at


class BreakerMove(models.Model):
    """What a breaker did: rows are only added."""

    id = models.BigAutoField(primary_key=True)
    tool = models.CharField(max_length=64)
    at = models.DateTimeField()
    before = models.CharField(max_length=12)
    after = models.CharField(max_length=12)
    reason = models.TextField(blank=True)
    actor = models.CharField(max_length=160, help_text="Who moved it: system, or a person such as user:ana.")

    class Meta:
        verbose_name = "move of a breaker"
        verbose_name_plural = "moves of breakers"
        ordering = ["id"]
        indexes = [models.Index(fields=["tool", "id"], name="move_of_tool")]

    def __str__(self) -> str:
        return f"{self.tool}: {self.before} to {self.after}"


class ToolLimit(models.Model):
    """How far the limit of one tool is used up; whoever takes from it locks this row."""

    tool = models.CharField(primary_key=True, max_length=64)
    started_to = models.DateTimeField(help_text="Up to here the calls that were begun use up the rate.")
    planned_to = models.DateTimeField(help_text="Up to here the calls in line will use it up.")
    held_until = models.DateTimeField(null=True, help_text="The other side asked for no call before.")

    class Meta:
        verbose_name = "limit"

    def __str__(self) -> str:
        return f"The limit of {self.tool}"


class TicketState(StrEnum):
    """Where one call in line stands."""

    WAITING = "waiting"  # in line
    GRANTED = "granted"  # under way, or called up


class Ticket(StateModel):
    """One call in line, or under way, at a tool with a limit. It goes when the call is over."""

    key = models.CharField(primary_key=True, max_length=64, help_text="The idempotency key of the call.")
    tool = models.CharField(max_length=64)
    run_id = models.CharField(max_length=32)
    starts_at = models.DateTimeField(help_text="Its place in line: not begun before.")
    until = models.DateTimeField(help_text="A granted one lapses then, a waiting one when nobody came by.")
    state = FSMField(
        default=TicketState.WAITING.value,
        protected=True,
        choices=[(state.value, state.value) for state in TicketState],
    )

    class Meta:
        verbose_name = "call in line"
        verbose_name_plural = "calls in line"
        indexes = [models.Index(fields=["tool", "starts_at", "key"], name="ticket_line")]

    def __str__(self) -> str:
        return f"{self.tool}: {self.state} ({self.key})"

    @transition(field=state, source=TicketState.WAITING.value, target=TicketState.GRANTED.value)
    def grant(self) -> None:
        """Its turn: the call may be begun."""
