"""What was tried: one row for each attempt to call a tool."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.db import models
from django.db.models import Case, Q, When
from django_fsm import FSMField, transition

from tools.canonical import Json
from tools.effects import Effect
from tools.mcp.rows import RemoteTool  # noqa: F401
from tools.misfits import Misfit  # noqa: F401
from tools.protection import BreakerMove, Ticket, ToolBreaker, ToolLimit  # noqa: F401
from tools.states import StateModel
from tools.switch import Switch, SwitchKind, SwitchState, Then, Waiting  # noqa: F401


class CallState(StrEnum):
    """Where one attempt stands."""

    STARTED = "started"  # on record; it may be happening now
    SUCCEEDED = "succeeded"  # it happened, and its result is known
    FAILED = "failed"  # it gave no result; a later attempt with the same key may have
    REFUSED = "refused"  # not done: the tool's own rules, or the other side, said no
    UNKNOWN = "unknown"  # sent, and nobody knows whether it happened
    CANCELLED = "cancelled"  # given up before anything was sent


class ToolCallQuerySet(models.QuerySet["ToolCall"]):
    """Questions one asks of many calls."""

    def unknown(self) -> ToolCallQuerySet:
        """Calls that wait to be reconciled, the oldest first."""
        return self.filter(unsettled=True).order_by("started_at", "id")


class ToolCall(StateModel):
    """One attempt of one tool.

    The engine writes these rows within the statement that records a step, so it has no foreign keys (a step
    and a run are opaque ids here) and no history table: the run's journal tells what happened to a call.
    """

    id = models.CharField(primary_key=True, max_length=32)
    step_id = models.CharField(max_length=32)
    run_id = models.CharField(max_length=32)
    tool = models.CharField(max_length=64)
    version = models.PositiveIntegerField(help_text="The tool's version.")
    effect = models.CharField(max_length=12, choices=[(effect.value, effect.value) for effect in Effect])
    attempt = models.PositiveIntegerField(default=1, help_text="Counts the attempts of its step, from 1.")
    key = models.CharField(
        max_length=64, blank=True, help_text="Idempotency key, the same for every attempt."
    )
    arguments_digest = models.CharField(max_length=64)
    state = FSMField(
        default=CallState.STARTED.value,
        protected=True,
        choices=[(state.value, state.value) for state in CallState],
    )
    not_before = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Until then a stalled worker may still send it, so nobody may settle it.",
    )
    result_digest = models.CharField(max_length=64, blank=True, default="", db_default="")
    failure_class = models.CharField(max_length=20, blank=True, default="", db_default="")
    error = models.TextField(blank=True, default="", db_default="")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(
        max_length=160, blank=True, default="", db_default="", help_text="The actor who reconciled it."
    )
    note = models.TextField(blank=True, default="", db_default="", help_text="Why it was settled so.")

    # An index on the state would be written again with every call that ends: this stays as it is then.
    unsettled = models.GeneratedField(
        expression=Case(When(state=CallState.UNKNOWN.value, then=True)),
        output_field=models.BooleanField(null=True),
        db_persist=True,
        help_text="Whether it waits to be reconciled.",
    )

    objects = ToolCallQuerySet.as_manager()

    #: The result of a call just settled as having happened; the step keeps it, this row its digest alone.
    result: Json = None
    #: What the person said by whom it was just settled; None where its lookup or its worker proved it.
    settlement: Settlement | None = None

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["step_id", "attempt"], name="call_once_per_attempt"),
            models.CheckConstraint(
                condition=~Q(state=CallState.UNKNOWN.value) | Q(not_before__isnull=False),
                name="call_unknown_has_not_before",
            ),
        ]
        indexes = [
            models.Index(fields=["run_id"], name="call_of_run"),
            models.Index(fields=["started_at", "id"], name="call_unsettled", condition=Q(unsettled=True)),
        ]
        permissions = [("settle_toolcall", "Can settle a tool call whose outcome is unknown")]
        verbose_name = "tool call"

    def __str__(self) -> str:
        return f"{self.id} ({self.tool})"

    # Transitions: they decide; the engine's checkpoint, or `services.settle`, persists them.

    @transition(field=state, source=CallState.STARTED, target=CallState.SUCCEEDED)
    def succeed(self) -> None:
        """It happened, and its result is known."""

    @transition(field=state, source=CallState.STARTED, target=CallState.FAILED)
    def fail(self) -> None:
        """It gave no result; what that means, the next attempt with the same key or the step's end says."""

    @transition(field=state, source=CallState.STARTED, target=CallState.REFUSED)
    def refuse(self) -> None:
        """The rules said no before anything was done."""

    @transition(field=state, source=CallState.STARTED, target=CallState.CANCELLED)
    def cancel(self) -> None:
        """It was given up before anything was sent."""

    @transition(field=state, source=[CallState.STARTED, CallState.FAILED], target=CallState.UNKNOWN)
    def doubt(self) -> None:
        """It was sent, and nobody knows whether it happened; `not_before` must be set. One that failed is
        in doubt when its failure proved nothing and no other attempt will find out.
        """

    @transition(field=state, source=CallState.UNKNOWN, target=CallState.SUCCEEDED)
    def settle_as_happened(self) -> None:
        """A lookup or a person found that it happened."""

    @transition(field=state, source=CallState.UNKNOWN, target=CallState.FAILED)
    def settle_as_not_happened(self) -> None:
        """A final lookup or a person found that it did not happen."""


class Outcome(StrEnum):
    """What somebody found out about a call in doubt."""

    HAPPENED = "happened"
    DID_NOT_HAPPEN = "did_not_happen"
    CANNOT_TELL = "cannot_tell"  # it stays in doubt, and somebody else should look


class Settlement(models.Model):
    """What one person said about one call in doubt, and when. Rows are only added: the last of a person
    counts, and the database refuses to change one.
    """

    id = models.CharField(primary_key=True, max_length=32)
    call_id = models.CharField(max_length=32)
    run_id = models.CharField(max_length=32)
    by = models.CharField(max_length=160, help_text="The actor, such as user:ana.")
    at = models.DateTimeField()
    outcome = models.CharField(max_length=16, choices=[(one.value, one.value) for one in Outcome])
    result = models.JSONField(null=True, help_text="What the call returned, as they found it; may be purged.")
    result_digest = models.CharField(max_length=64, blank=True)
    reference = models.CharField(max_length=200, blank=True, help_text="What the other side calls it.")
    note = models.TextField(help_text="How they know.")
    confirms = models.CharField(
        max_length=32,
        blank=True,
        help_text="What somebody else had said before, where two people must agree.",
    )

    class Meta:
        ordering = ["at", "id"]
        indexes = [
            models.Index(fields=["call_id", "at"], name="said_of_call"),
            models.Index(fields=["run_id"], name="said_of_run"),
        ]

    def __str__(self) -> str:
        return f"{self.by}: {self.outcome} ({self.call_id})"


class Inquiry(models.Model):
    """What the caretakers know about one call in doubt: what is at stake, and what its lookup said last.

    It may be lost: it is found out again.
    """

    call_id = models.CharField(primary_key=True, max_length=32)
    amount = models.DecimalField(null=True, max_digits=15, decimal_places=2, help_text="By the tool's facts.")
    currency = models.CharField(max_length=8, blank=True)
    looks = models.PositiveIntegerField(default=0, help_text="How often its lookup was asked.")
    looked_at = models.DateTimeField(null=True)
    look_at = models.DateTimeField(help_text="Its lookup is not asked again before.")
    said = models.TextField(blank=True, help_text="What the lookup said last.")

    class Meta:
        verbose_name_plural = "inquiries"

    def __str__(self) -> str:
        return f"About {self.call_id}"


class Compensation(models.Model):
    """That somebody had a call undone: by a call of its own, in a run of its own. Rows are only added."""

    id = models.CharField(primary_key=True, max_length=32)
    call_id = models.CharField(max_length=32, help_text="The call that is undone.")
    run_id = models.CharField(max_length=32, help_text="The run that it belongs to.")
    undone_by = models.CharField(max_length=32, unique=True, help_text="The run that undoes it.")
    tool = models.CharField(max_length=64, help_text="The tool that undoes it.")
    by = models.CharField(max_length=160)
    at = models.DateTimeField()
    reason = models.TextField()

    class Meta:
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["run_id"], name="undone_of_run")]

    def __str__(self) -> str:
        return f"{self.undone_by} undoes {self.call_id}"


def fields_of(call: ToolCall, *names: str) -> dict[str, Any]:
    """The named columns of `call` as they are in memory: what a compare-and-set writes."""
    return {name: getattr(call, name) for name in names}
