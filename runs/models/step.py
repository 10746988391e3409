"""One recorded act of a run: the row and its life."""

from __future__ import annotations

from django.db import models
from django.db.models import Case, Q, When
from django_fsm import FSMField, transition

from runs.history import stamped_history
from runs.models.run import Run
from runs.states import STEP_ENDED, StepState
from tools.states import StateModel

CLEAN_UP = "cancel/"  # how the paths of a clean-up's steps begin

_NOT_IN_HISTORY = ("arguments", "result", "blob", "error", "fingerprint", "asks")


class Step(StateModel):
    """One recorded act of a run: a tool call, a model request, an agent, a wait, a value."""

    id = models.CharField(primary_key=True, max_length=32)
    # The checkpoint inserts steps only joined to the fenced run row, so the database need not check it again.
    run = models.ForeignKey(Run, models.CASCADE, related_name="steps", db_constraint=False, db_index=False)
    path = models.CharField(
        max_length=200, help_text="Its place in the run: 4, or 4/model:2 inside an agent."
    )
    position = models.PositiveIntegerField(help_text="The order in which steps were first recorded.")
    kind = models.CharField(max_length=20)
    name = models.CharField(max_length=120)
    state = FSMField(default="started", protected=True, choices=[(s.value, s.value) for s in StepState])
    fingerprint = models.CharField(max_length=64, help_text="Digest of what the code asked for.")
    arguments = models.JSONField(null=True)
    result = models.JSONField(null=True)
    blob = models.CharField(max_length=64, blank=True, help_text="Digest of a result too large for the row.")
    error = models.JSONField(null=True)
    attempt = models.PositiveIntegerField(default=1)
    epoch = models.BigIntegerField(help_text="The lease under which it last started.")
    effect = models.CharField(max_length=12, blank=True)
    key = models.CharField(
        max_length=64, blank=True, help_text="Idempotency key, the same for every attempt."
    )
    model = models.CharField(max_length=120, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cost = models.DecimalField(max_digits=12, decimal_places=6, null=True, help_text="US dollars.")
    due_at = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True, help_text="A lost attempt may still act until then.")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    # An index on the state would be written again with every step that ends: this stays as it is then.
    asks = models.GeneratedField(
        expression=Case(When(kind="question", state="held", then=True)),
        output_field=models.BooleanField(null=True),
        db_persist=True,
        help_text="Whether it is a question that nobody has answered yet.",
    )

    history = stamped_history(*_NOT_IN_HISTORY, unindexed=["run"])

    class Meta:
        ordering = ["position"]
        # What was paid for models in a day.
        indexes = [
            models.Index(fields=["started_at"], name="step_of_day", condition=Q(kind="model")),
            models.Index(fields=["started_at", "id"], name="step_asks", condition=Q(asks=True)),
            # Given up, and the child still to be cancelled: no other child is due.
            models.Index(
                fields=["id"], name="step_child_due", condition=Q(kind="child", due_at__isnull=False)
            ),
        ]
        constraints = [models.UniqueConstraint(fields=["run", "path"], name="step_once_a_path")]

    def __str__(self) -> str:
        return f"{self.path} {self.name}"

    # Transitions

    @transition(
        field=state,
        source=[StepState.STARTED.value, StepState.WAITING.value, StepState.HELD.value],
        target=StepState.STARTED.value,
    )
    def start(self) -> None:
        """An attempt begins: on record before it is done."""

    @transition(
        field=state, source=[StepState.STARTED.value, StepState.WAITING.value], target=StepState.WAITING.value
    )
    def wait(self) -> None:
        """Until its due time or its next attempt."""

    @transition(
        field=state,
        source=[StepState.STARTED.value, StepState.HELD.value, StepState.WAITING.value],
        target=StepState.HELD.value,
    )
    def hold(self) -> None:
        """Until a person has decided."""

    @transition(
        field=state,
        source=[StepState.STARTED.value, StepState.WAITING.value, StepState.UNKNOWN.value],
        target=StepState.SUCCEEDED.value,
    )
    def succeed(self) -> None:
        """It happened, and the result is on record."""

    @transition(
        field=state,
        source=[StepState.STARTED.value, StepState.WAITING.value, StepState.UNKNOWN.value],
        target=StepState.FAILED.value,
    )
    def fail(self) -> None:
        """It did not happen, or it happened in vain; the error is on record."""

    @transition(
        field=state,
        source=[StepState.STARTED.value, StepState.WAITING.value, StepState.HELD.value],
        target=StepState.REFUSED.value,
    )
    def refuse(self) -> None:
        """It was not done: the tool's own rules, a policy or a person said no."""

    @transition(
        field=state,
        source=[StepState.STARTED.value, StepState.WAITING.value, StepState.HELD.value],
        target=StepState.UNKNOWN.value,
    )
    def lose(self) -> None:
        """It was sent and nobody knows whether it happened; held: no further attempt is allowed."""

    @transition(field=state, source=StepState.HELD.value, target=StepState.SUCCEEDED.value)
    def answer(self) -> None:
        """A person answered the question."""

    @transition(field=state, source=StepState.HELD.value, target=StepState.FAILED.value)
    def leave_unanswered(self) -> None:
        """Nobody answered the question in time."""

    @transition(
        field=state,
        source=[StepState.FAILED.value, StepState.CANCELLED.value],
        target=StepState.WAITING.value,
    )
    def try_again(self) -> None:
        """A person has it tried again."""

    @transition(field=state, source=StepState.UNKNOWN.value, target=StepState.WAITING.value)
    def retry_later(self) -> None:
        """A person found that it did not happen: it may be tried again."""

    @transition(
        field=state,
        source=[
            StepState.STARTED.value,
            StepState.WAITING.value,
            StepState.HELD.value,
            StepState.UNKNOWN.value,
        ],
        target=StepState.CANCELLED.value,
    )
    def cancel(self) -> None:
        """The run ended before it was done."""

    # Properties

    @property
    def ended(self) -> bool:
        return self.state in STEP_ENDED

    @property
    def in_doubt(self) -> bool:
        """Whether an earlier attempt may have happened, and nobody knows."""
        return bool((self.error or {}).get("in_doubt"))

    @property
    def asks_a_person(self) -> bool:
        """Whether it failed with nothing done, and stands still until a person says what becomes of it."""
        return self.state == StepState.WAITING and bool((self.error or {}).get("incident"))

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for it any more, though nobody knows whether it happened."""
        return bool((self.error or {}).get("given_up"))

    @property
    def ends_elsewhere(self) -> bool:
        """Whether it is open, and its end is written by somebody else than the run's own worker."""
        return self.is_open_question or (self.is_child and self.state == StepState.WAITING)

    @property
    def is_child(self) -> bool:
        return self.kind == "child"

    @property
    def is_open_question(self) -> bool:
        return self.kind == "question" and self.state == StepState.HELD
