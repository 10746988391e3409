"""What was tried: one row for each attempt to call a tool."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.db import models
from django.db.models import Case, Q, When
from django_fsm import FSMField, transition

from tools.canonical import Json
from tools.effects import Effect
from tools.states import StateModel


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


def fields_of(call: ToolCall, *names: str) -> dict[str, Any]:
    """The named columns of `call` as they are in memory: what a compare-and-set writes."""
    return {name: getattr(call, name) for name in names}
