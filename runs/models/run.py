"""One execution of a workflow: the row, its life and who it belongs to."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from runs.history import stamped_history
from runs.states import RUN_ENDED, RunState
from tools.states import StateModel

# Written once at the start, or moved many times a second by heartbeats and checkpoints: history is for the
# life of a run, not its pulse.
NOT_IN_HISTORY = (
    "input",
    "output",
    "lease_owner",
    "lease_epoch",
    "lease_until",
    "head_seq",
    "head_hash",
    "wakes",
    "wake_at",
    "key",
    "once",
    "code",
    "parent_id",
    "parent_step",
    "to_tell",
    "forked_from",
    "continued_from",
    "continued_by",
    "limit_key",
    "placed",
    "active_ms",
    "expected_until",
    "overrun",
    "late",
    "start_at",
    "archived_at",
    "purged_at",
    "artifacts_purged_at",
)


class Run(StateModel):
    """One execution of a workflow."""

    #: Whoever asked to start it was given this run, which was there already.
    found = False

    id = models.CharField(primary_key=True, max_length=32)
    workflow = models.CharField(max_length=100)
    version = models.PositiveIntegerField()
    state = FSMField(default="queued", protected=True, choices=[(s.value, s.value) for s in RunState])
    intent = models.TextField(blank=True, help_text="What this run is for, in one sentence.")
    requester = models.CharField(max_length=160, help_text="The actor who asked for it, such as user:ana.")
    source = models.CharField(max_length=40, blank=True, help_text="The door it came through.")
    queue = models.CharField(max_length=40, default="runs")
    priority = models.PositiveSmallIntegerField(default=5, help_text="0 to 9; higher ones are taken first.")
    start_at = models.DateTimeField(null=True, help_text="It must not start before.")
    deadline = models.DateTimeField(null=True, help_text="When whoever asked wants it done.")

    input = models.JSONField()
    output = models.JSONField(null=True)
    waiting_for = models.TextField(blank=True, help_text="What it waits for, in words.")
    attention = models.JSONField(null=True, help_text="Why it cannot go on: code, sentence, details.")
    stop_reason = models.TextField(blank=True, help_text="Why somebody paused or cancelled it.")
    granted = models.JSONField(default=dict, help_text="What a person granted beyond the budget.")

    # Where it comes from
    key = models.CharField(max_length=200, blank=True, help_text="The business key it was started with.")
    once = models.CharField(  # noqa: DJ001 - many rows may hold no key at all
        max_length=64, null=True, help_text="Holds its business key against a second run."
    )
    code = models.CharField(max_length=64, blank=True, help_text="Digest of the workflow's code.")
    parent_id = models.CharField(max_length=32, blank=True, help_text="The run that started it.")
    parent_step = models.CharField(max_length=32, blank=True)
    to_tell = models.CharField(max_length=32, blank=True, help_text="The run that waits for its end.")
    forked_from = models.CharField(max_length=32, blank=True)
    continued_from = models.CharField(max_length=32, blank=True, help_text="The run that restarted as it.")
    continued_by = models.CharField(max_length=32, blank=True, help_text="The run it restarted as.")

    # Whose turn it is
    limit_key = models.CharField(max_length=200, blank=True, help_text="Runs that share it share its places.")
    placed = models.BooleanField(
        null=True, help_text="Its place under the limits on runs: has it, must not start yet, or needs none."
    )
    lease_owner = models.CharField(max_length=32, blank=True)
    lease_epoch = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    head_seq = models.BigIntegerField(default=0)
    head_hash = models.BinaryField(default=bytes)
    wakes = models.BigIntegerField(default=0, help_text="Counts wake-ups, so that none is lost.")
    wake_at = models.DateTimeField(null=True, help_text="When a caretaker must look at it again.")
    crashes = models.PositiveIntegerField(default=0, help_text="Workers that died since its last progress.")
    alone = models.BooleanField(default=False, help_text="It was there when a worker died: run it alone.")
    generation = models.PositiveIntegerField(
        default=0, help_text="How often it went back to an earlier step."
    )

    # How long
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    active_ms = models.BigIntegerField(default=0, help_text="Milliseconds that workers spent on it.")
    expected_until = models.DateTimeField(null=True, help_text="When runs like this are usually done.")
    overrun = models.BooleanField(default=False, help_text="It took longer, and that was said.")
    late = models.BooleanField(default=False, help_text="Its deadline has passed, and that was said.")
    archived_at = models.DateTimeField(null=True, help_text="Since then it is out of the working lists.")
    purged_at = models.DateTimeField(null=True, help_text="Since then its contents are gone.")
    artifacts_purged_at = models.DateTimeField(null=True)

    history = stamped_history(*NOT_IN_HISTORY)

    class Meta:
        indexes = [
            models.Index(fields=["-created_at"], name="run_newest"),
            models.Index(fields=["state", "-created_at"], name="run_by_state"),
            # The working lists, and their counts without a look at the rows.
            models.Index(fields=["state", "-created_at"], name="run_listed", condition=Q(archived_at=None)),
            models.Index(
                fields=["wake_at"], name="run_due", condition=Q(state__in=["queued", "waiting", "cancelling"])
            ),
            models.Index(
                fields=["id"], name="run_leased", condition=Q(state__in=["running", "pausing", "cancelling"])
            ),
            models.Index(
                fields=["workflow", "finished_at"],
                name="run_to_empty",
                condition=Q(purged_at=None, finished_at__isnull=False),
            ),
            models.Index(
                fields=["finished_at"],
                name="run_to_archive",
                condition=Q(archived_at=None, finished_at__isnull=False),
            ),
            models.Index(fields=["queue"], name="run_in_queue", condition=Q(state="queued")),
            models.Index(fields=["workflow", "key"], name="run_by_key", condition=~Q(key="")),
            models.Index(fields=["parent_id"], name="run_of_parent", condition=~Q(parent_id="")),
            models.Index(
                fields=["id"],
                name="run_untold",
                condition=~Q(to_tell="") & Q(state__in=["succeeded", "failed", "cancelled"]),
            ),
            models.Index(fields=["workflow", "limit_key"], name="run_placed", condition=Q(placed=True)),
            models.Index(
                fields=["workflow", "limit_key"],
                name="run_freed",
                condition=Q(placed=True, state__in=["succeeded", "failed", "cancelled"]),
            ),
            models.Index(
                fields=["workflow", "-priority", "created_at"],
                name="run_in_line",
                condition=Q(placed=False, state__in=["queued", "waiting"]),
            ),
            models.Index(
                fields=["workflow", "limit_key", "-priority", "created_at"],
                name="run_in_line_of_key",
                condition=Q(placed=False, state__in=["queued", "waiting"]),
            ),
            models.Index(
                fields=["deadline"],
                name="run_deadline",
                condition=Q(late=False, finished_at=None, deadline__isnull=False),
            ),
            models.Index(
                fields=["expected_until"],
                name="run_expected",
                condition=Q(overrun=False, finished_at=None, expected_until__isnull=False),
            ),
        ]
        constraints = [
            # Most runs hold no key: those need no place in the index.
            models.UniqueConstraint(fields=["once"], name="run_once_a_key", condition=Q(once__isnull=False)),
        ]
        permissions = [
            ("start_run", "Can start runs"),
            ("control_run", "Can pause, resume, cancel, retry and fork runs"),
            ("send_message", "Can send messages to runs"),
            ("answer_question", "Can answer the questions of runs"),
            ("grant_budget", "Can grant a run more than its budget"),
            ("view_technical", "Can see arguments and results of steps"),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.workflow})"

    # Transitions: they decide; who calls them persists the row, its history and the journal together.

    @transition(field=state, source=RunState.QUEUED.value, target=RunState.RUNNING.value)
    def claim(self) -> None:
        """A worker took it."""

    @transition(field=state, source=RunState.CANCELLING.value, target=RunState.CANCELLING.value)
    def claim_cleanup(self) -> None:
        """A worker took it, to clean up before the end."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.WAITING.value)
    def wait(self) -> None:
        """It can only go on when somebody or something wakes it."""

    @transition(field=state, source=RunState.CANCELLING.value, target=RunState.CANCELLING.value)
    def wait_in_cleanup(self) -> None:
        """Its clean-up waits to be woken."""

    @transition(field=state, source=RunState.QUEUED.value, target=RunState.WAITING.value)
    def hold_back(self) -> None:
        """It must not start yet: its time has not come, or no place is free."""

    @transition(field=state, source=RunState.WAITING.value, target=RunState.QUEUED.value)
    def wake(self) -> None:
        """What it waited for is there."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.QUEUED.value)
    def hand_over(self) -> None:
        """Its worker was asked to end: the next worker takes it up."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.QUEUED.value)
    def rescue(self) -> None:
        """Its worker is gone or out of time: the next worker takes it up."""

    @transition(
        field=state,
        source=[
            RunState.RUNNING.value,
            RunState.QUEUED.value,
            RunState.PAUSING.value,
            RunState.CANCELLING.value,
        ],
        target=RunState.NEEDS_ATTENTION.value,
    )
    def halt(self) -> None:
        """It cannot go on by itself."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.PAUSING.value)
    def ask_to_pause(self) -> None:
        """A person wants it to stop after the act in hand."""

    @transition(
        field=state,
        source=[RunState.QUEUED.value, RunState.WAITING.value, RunState.PAUSING.value],
        target=RunState.PAUSED.value,
    )
    def pause(self) -> None:
        """It stands still until a person resumes it."""

    @transition(
        field=state,
        source=[RunState.NEEDS_ATTENTION.value, RunState.PAUSED.value],
        target=RunState.QUEUED.value,
    )
    def resume(self) -> None:
        """A person has looked and lets it go on."""

    @transition(field=state, source=RunState.NEEDS_ATTENTION.value, target=RunState.CANCELLING.value)
    def resume_cleanup(self) -> None:
        """A person has looked and lets its clean-up go on."""

    @transition(
        field=state,
        source=[RunState.FAILED.value, RunState.NEEDS_ATTENTION.value, RunState.PAUSED.value],
        target=RunState.QUEUED.value,
    )
    def retry(self) -> None:
        """A person has it try again, from the failed step or an earlier one."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.SUCCEEDED.value)
    def succeed(self) -> None:
        """The workflow returned."""

    @transition(field=state, source=RunState.RUNNING.value, target=RunState.FAILED.value)
    def fail(self) -> None:
        """The workflow raised."""

    @transition(
        field=state,
        source=[
            RunState.QUEUED.value,
            RunState.RUNNING.value,
            RunState.WAITING.value,
            RunState.PAUSING.value,
            RunState.PAUSED.value,
            RunState.NEEDS_ATTENTION.value,
        ],
        target=RunState.CANCELLING.value,
    )
    def ask_to_cancel(self) -> None:
        """A person wants it to end; it cleans up first."""

    @transition(
        field=state,
        source=[
            RunState.QUEUED.value,
            RunState.RUNNING.value,
            RunState.WAITING.value,
            RunState.PAUSED.value,
            RunState.NEEDS_ATTENTION.value,
            RunState.CANCELLING.value,
        ],
        target=RunState.CANCELLED.value,
    )
    def cancel(self) -> None:
        """It was stopped before its end."""

    #: Known of a run whose steps are at hand: it has started no other.
    childless = False

    # Properties

    @property
    def ended(self) -> bool:
        return self.state in RUN_ENDED
