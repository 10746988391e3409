"""A tool call whose body runs on another queue than its run: which worker has it, and what it answered."""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from tools.states import StateModel


class ErrandState(StrEnum):
    """Where the body of one tool call stands."""

    WAITING = "waiting"  # for a worker of its queue
    TAKEN = "taken"  # a worker holds its lease
    DONE = "done"  # its outcome is on record, for the run to read
    READ = "read"  # the run has taken its outcome over
    LOST = "lost"  # given up, or its worker is gone or out of time: a late answer is not taken


#: The run still waits for it.
ERRAND_OPEN = frozenset({ErrandState.WAITING, ErrandState.TAKEN, ErrandState.DONE})


class Errand(StateModel):
    """One attempt of a tool that runs elsewhere. The run's turn writes it and reads its outcome.

    The worker that has it holds a lease on this row alone: the run's own lease guards the turn.
    """

    id = models.CharField(primary_key=True, max_length=32, help_text="The id of its tool call.")
    run_id = models.CharField(max_length=32)
    step_id = models.CharField(max_length=32)
    queue = models.CharField(max_length=40)
    timeout = models.FloatField(help_text="Seconds that its body may take.")
    contract = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="The digest of the tool's contract, as its run knows it.",
    )
    state = FSMField(
        default=ErrandState.WAITING.value, protected=True, choices=[(s.value, s.value) for s in ErrandState]
    )
    lease_owner = models.CharField(max_length=32, blank=True, default="", db_default="")
    lease_until = models.DateTimeField(null=True)
    wake_at = models.DateTimeField(null=True, help_text="When a caretaker must look at it again.")
    outcome = models.JSONField(null=True, help_text="Its result, or how it failed.")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["wake_at"], name="errand_due", condition=Q(state__in=["waiting", "taken"])),
            models.Index(
                fields=["run_id"],
                name="errand_of_run",
                condition=Q(state__in=["waiting", "taken", "done"]),
            ),
            models.Index(fields=["id"], name="errand_taken", condition=Q(state="taken")),
        ]

    def __str__(self) -> str:
        return f"{self.id} on {self.queue}"

    # Transitions

    @transition(field=state, source=ErrandState.WAITING.value, target=ErrandState.TAKEN.value)
    def take(self) -> None:
        """A worker has it."""

    @transition(field=state, source=ErrandState.TAKEN.value, target=ErrandState.DONE.value)
    def finish(self) -> None:
        """Its outcome is on record."""

    @transition(field=state, source=ErrandState.DONE.value, target=ErrandState.READ.value)
    def read(self) -> None:
        """The run has taken its outcome over."""

    @transition(
        field=state,
        source=[ErrandState.WAITING.value, ErrandState.TAKEN.value],
        target=ErrandState.LOST.value,
    )
    def lose(self) -> None:
        """Nobody will answer any more; whoever does all the same is not heard."""
