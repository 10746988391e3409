"""What is being done: runs, their steps, the journal and the workers that hold leases."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from runs.history import stamped_history
from runs.states import RUN_ENDED, STEP_ENDED, RunState, StepState
from tools.states import StateModel

# Moved by heartbeats and checkpoints, many times a second; history is for the life of a run, not its pulse.
_RUN_PULSE = ("input", "output", "lease_owner", "lease_epoch", "lease_until", "head_seq", "head_hash")
_STEP_CONTENT = ("arguments", "result", "error", "fingerprint")


class Run(StateModel):
    """One execution of a workflow."""

    id = models.CharField(primary_key=True, max_length=32)
    workflow = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    state = FSMField(default="queued", protected=True, choices=[(s.value, s.value) for s in RunState])
    intent = models.TextField(blank=True, help_text="What this run is for, in one sentence.")
    requester = models.CharField(max_length=160, help_text="The actor who asked for it, such as user:ana.")
    source = models.CharField(max_length=40, blank=True, help_text="The door it came through.")
    queue = models.CharField(max_length=40, default="runs")

    input = models.JSONField()
    output = models.JSONField(null=True)
    waiting_for = models.TextField(blank=True, help_text="What it waits for, in words.")
    attention = models.JSONField(null=True, help_text="Why it cannot go on: code, sentence, details.")

    lease_owner = models.CharField(max_length=32, blank=True)
    lease_epoch = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    head_seq = models.BigIntegerField(default=0)
    head_hash = models.BinaryField(default=bytes)
    wakes = models.BigIntegerField(default=0, help_text="Counts wake-ups, so that none is lost.")
    wake_at = models.DateTimeField(null=True, help_text="When a caretaker must look at it again.")
    crashes = models.PositiveIntegerField(default=0, help_text="Workers that died since its last progress.")
    alone = models.BooleanField(default=False, help_text="It was there when a worker died: run it alone.")

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    history = stamped_history(*_RUN_PULSE, "wakes", "wake_at")

    class Meta:
        indexes = [
            models.Index(fields=["-created_at"], name="run_newest"),
            models.Index(fields=["state", "-created_at"], name="run_by_state"),
            models.Index(fields=["wake_at"], name="run_due", condition=Q(state__in=["queued", "waiting"])),
            models.Index(fields=["id"], name="run_leased", condition=Q(state="running")),
        ]
        permissions = [
            ("start_run", "Can start runs"),
            ("control_run", "Can resume and stop runs"),
            ("view_technical", "Can see arguments and results of steps"),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.workflow})"

    # Transitions: they decide; who calls them persists the row, its history and the journal together.

    @transition(field=state, source=RunState.QUEUED.value, target=RunState.RUNNING.value)
    def claim(self) -> None:
        """A worker took it."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.WAITING.value)
    def wait(self) -> None:
        """It can only go on when somebody or something wakes it."""

    @transition(field=state, source=RunState.WAITING.value, target=RunState.QUEUED.value)
    def wake(self) -> None:
        """What it waited for is there."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.QUEUED.value)
    def rescue(self) -> None:
        """Its worker is gone or out of time: the next worker takes it up."""

    @transition(
        field=state,
        source=[RunState.RUNNING.value, RunState.QUEUED.value],
        target=RunState.NEEDS_ATTENTION.value,
    )
    def halt(self) -> None:
        """It cannot go on by itself."""

    @transition(field=state, source=RunState.NEEDS_ATTENTION.value, target=RunState.QUEUED.value)
    def resume(self) -> None:
        """A person has looked and lets it go on."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.SUCCEEDED.value)
    def succeed(self) -> None:
        """The workflow returned."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.FAILED.value)
    def fail(self) -> None:
        """The workflow raised."""

    @transition(
        field=state,
        source=[
            RunState.RUNNING.value,
            RunState.WAITING.value,
            RunState.QUEUED.value,
            RunState.NEEDS_ATTENTION.value,
        ],
        target=RunState.CANCELLED.value,
    )
    def cancel(self) -> None:
        """A person stopped it."""

    # Properties

    @property
    def ended(self) -> bool:
        return self.state in RUN_ENDED


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

    history = stamped_history(*_STEP_CONTENT)

    class Meta:
        ordering = ["position"]
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
        field=state, source=[StepState.STARTED.value, StepState.HELD.value], target=StepState.HELD.value
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
        field=state, source=[StepState.STARTED.value, StepState.WAITING.value], target=StepState.UNKNOWN.value
    )
    def lose(self) -> None:
        """It was sent and nobody knows whether it happened."""

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


class JournalEntry(models.Model):
    """One line of the append-only record of a run; each line seals the one before it.

    ``hash`` of an entry is not stored in it: it is the ``previous`` of the next one, and of the last one the
    head on the run row.
    """

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, related_name="journal", db_constraint=False, db_index=False)
    seq = models.BigIntegerField()
    at = models.DateTimeField(help_text="The database's time at the claim plus monotonic time since.")
    recorded_at = models.DateTimeField(help_text="The database's own time; not part of the seal.")
    actor = models.CharField(max_length=160)
    kind = models.CharField(max_length=40)
    sentence = models.TextField()
    step_id = models.CharField(max_length=32, blank=True)
    content = models.JSONField(null=True, help_text="Details; may be purged, its digest stays in the seal.")
    digest = models.BinaryField()
    previous = models.BinaryField()
    key_id = models.CharField(max_length=20)
    mac = models.BinaryField()

    class Meta:
        verbose_name_plural = "journal entries"
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="entry_once_a_seq")]
        permissions = [("verify_journal", "Can verify and export journals")]

    def __str__(self) -> str:
        return f"{self.run_id} #{self.seq} {self.kind}"


class Worker(models.Model):
    """One worker process, its heartbeat and the proof that it lives."""

    id = models.CharField(primary_key=True, max_length=32)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    process_started = models.CharField(
        max_length=40, help_text="Tells a process from a later one of that pid."
    )
    queues = models.CharField(max_length=200)
    pool = models.CharField(max_length=20)
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["beat_at"], name="worker_alive", condition=Q(stopped_at=None))]

    def __str__(self) -> str:
        return f"{self.id} on {self.host}"
