"""One turn: what a worker knows and has in hand between claiming a run and letting it go.

A turn keeps finished steps in memory until the next act needs its intent on record, and writes both at once.
Every commit carries the epoch of the claim; the first one that does not hold ends the turn (`Fenced`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from django.conf import settings
from django.db import OperationalError, connection, transaction

from runs import budget, journal, workflow
from runs.clock import TurnClock, ticks
from runs.crew import watch, workers
from runs.crew.seats import SEATS
from runs.journal import Entry, Head
from runs.models import ERRAND_OPEN, Errand, Run, Step
from runs.states import RunState, StepState
from runs.stops import (
    Controlled,
    Fenced,
    Stop,
    Suspend,
    Unreachable,
)
from runs.turns import checkpoint, columns
from runs.turns.checkpoint import Fence, Write, execute_prepared, numbered, own_transaction
from runs.turns.lanes import Lanes
from runs.turns.lookup import Lookup
from runs.turns.pending import Allowed, Pending
from runs.turns.recall import Recall
from runs.turns.spending import Spent
from runs.workflow import Budget
from tools import orders
from tools.canonical import new_id
from tools.models import ToolCall
from tools.orders import Subject

# Seconds that a turn holds the run while only workflow code runs.
LEASE = float(settings.HOLDPOINT_LEASE_SECONDS)
# Seconds added to a step's timeout, so that a lease outlives the act it covers.
MARGIN = float(settings.HOLDPOINT_LEASE_MARGIN)
COMMIT_TRIES = 5
SLOW = 0.25  # seconds of work worth more than a commit: such a result is written at once
T = TypeVar("T")
_OWNER = Lookup(
    lambda run_id: (
        Run.objects.select_for_update().filter(pk=run_id).only("lease_owner", "lease_epoch").order_by()
    )
)
# The join is complete, and the orders are shared, before a row is locked.
_OWNER_UNDER_ORDERS = numbered(
    f"SELECT lease_owner, lease_epoch FROM (SELECT {orders.COUNT}) AS orders, runs_run"  # noqa: S608
    " WHERE id = %s::text FOR UPDATE OF runs_run"
)


class Turn(Recall):
    """A claimed run, its steps by path, and what is not yet written."""

    replays = False  # without effects: nothing can be begun or written

    def __init__(self, run: Run, steps: list[Step], *, worker: str, clock: TurnClock) -> None:
        super().__init__(run, steps)
        self.worker = worker
        self.clock = clock
        self.actor = f"worker:{worker}"
        self.claimed_as = run.state
        self.woken = run.wakes  # as it was when the steps were read: what came later was not seen
        self.head = Head(run.head_seq, bytes(run.head_hash))
        self.pending = Pending()
        self.open_calls: dict[str, ToolCall] = {}
        self._errands: dict[str, Errand] = {}  # by step
        self._read_errands = False
        self.allowed: dict[str, Allowed] = {}  # by path: what may be begun, as far as orders go
        self.messages_taken: set[str] = set()  # in this turn, by whichever branch
        self.half_done = False  # what is pending was not all meant to be written: look at the record again
        self.lanes = Lanes(self.commit_together, SEATS.lent)
        self.lease_ends = ticks() + LEASE
        self.written_at = ticks()
        self.position = max((step.position for step in steps), default=0)

    @cached_property
    def budget(self) -> Budget:
        """What the run may use up."""
        return workflow.get(self.run.workflow, self.run.version).budget

    @cached_property
    def spent(self) -> Spent:
        """What the run has used up so far."""
        return Spent.of(self.steps.values(), self.budget, self.run.granted or {})

    # Changing it

    def new_step(
        self, path: str, kind: str, name: str, fingerprint: str, *, step_id: str = "", **values: Any
    ) -> Step:
        """A step at `path`, started now; on record with the next commit."""
        self.position += 1
        step = Step(
            id=step_id or new_id("stp"),
            run_id=self.run.id,
            path=path,
            position=self.position,
            kind=kind,
            name=name,
            fingerprint=fingerprint,
            epoch=self.run.lease_epoch,
            started_at=self.clock.now(),
            **values,
        )
        crossed = self.spent.begun(step)
        self.steps[path] = step
        self.visited.add(path)
        self.pending.new_steps.add(step.id)
        self.changed(step, kind="+")
        self._warn(crossed)
        if self.spent.same[fingerprint] == budget.NOTICED_AT:
            self.note("step.repeats", budget.repeats(name), step)
        return step

    def _warn(self, crossed: list[str]) -> None:
        for measure in crossed:
            limit = self.spent.limits[measure]
            self.note("budget.warning", budget.warning(measure, limit), measure=measure, limit=float(limit))

    def changed(self, step: Step, *, kind: str = "~", reason: str | None = None) -> None:
        """`step` has a new state: write it and its history with the next commit."""
        self.pending.steps[step.id] = step
        self.pending.step_history.append(
            columns.history_values(
                step,
                columns.STEP_HISTORY,
                kind=kind,
                actor=self.actor,
                at=self.clock.now(),
                reason=reason,
            )
        )

    def restart(self, step: Step) -> None:
        """Another attempt of `step` under this lease."""
        step.start()
        step.attempt += 1
        step.epoch = self.run.lease_epoch
        step.due_at = None
        self._warn(self.spent.again())
        self.changed(step)

    def finished(self, step: Step) -> None:
        """`step` has ended: progress."""
        step.finished_at = self.clock.now()
        step.due_at = None
        self._warn(self.spent.ended(step))
        if step.cost and (said := budget.unusual(self.run.workflow, self.spent.used["cost_usd"], step.cost)):
            self.note("budget.unusual", said)
        self.pending.progress = True
        self.changed(step)

    def new_call(self, call: ToolCall) -> None:
        """One attempt of a tool, on record with the next commit."""
        self.open_calls[call.step_id] = call
        self.pending.new_calls.add(call.id)
        self.pending.calls[call.id] = call

    def call_of(self, step: Step) -> ToolCall:
        """The latest attempt of a tool step that was started."""
        known = self.open_calls.get(step.id)
        return known or ToolCall.objects.filter(step_id=step.id).latest("attempt")

    def changed_call(self, call: ToolCall) -> None:
        """`call` has ended: write it with the next commit."""
        self.pending.calls[call.id] = call

    def new_errand(self, errand: Errand) -> None:
        """The body of a call that runs on another queue: on record with the intent of the call."""
        self._errands[errand.step_id] = errand
        self.pending.new_errands.add(errand.id)
        self.pending.errands[errand.id] = errand

    def changed_errand(self, errand: Errand) -> None:
        """Its outcome was taken over, or it is lost: write it with the next commit."""
        self.pending.errands[errand.id] = errand

    def is_new_errand(self, errand: Errand) -> bool:
        """Whether it is not on record yet."""
        return errand.id in self.pending.new_errands

    def errand_of(self, step: Step) -> Errand | None:
        """What of the started `step` runs on another queue; None when its call is made in a turn."""
        if step.id not in self.open_calls and not self._read_errands:
            self._read_errands = True
            for open_one in Errand.objects.filter(run_id=self.run.id, state__in=ERRAND_OPEN):
                self._errands.setdefault(open_one.step_id, open_one)
        errand = self._errands.get(step.id)
        return errand if errand is not None and errand.state in ERRAND_OPEN else None

    def note(self, kind: str, sentence: str, step: Step | None = None, /, **content: Any) -> None:
        """A line for the journal, with the next commit."""
        self.pending.entries.append(Entry(kind, sentence, content, step.id if step else ""))

    def set_column(self, name: str, value: Any) -> None:
        """Another value for a column of the run row, with the next commit; not for its state."""
        setattr(self.run, name, value)
        self.pending.columns[name] = value

    # Writing it

    def lease_for(self, timeout: float) -> float:
        """How long the lease must last, in seconds, for an act with that timeout."""
        return max(LEASE, timeout + MARGIN)

    def commit(
        self,
        *,
        lease: float | None = LEASE,
        changes: dict[str, Any] | None = None,
        wakes: int | None = None,
        intent: bool = False,
    ) -> bool:
        """Write all that is pending, with `changes` to the run row, and hold the lease for `lease` seconds.

        `lease` None gives the run back. With `wakes`, nothing is written when the run was woken since
        (False). An `intent` says that something is about to be begun: it is not written once a person asked
        the run to pause or to end, or this worker to end. Raises Fenced when the run is no longer ours,
        Unreachable when the database stays away, Controlled, HandedOver.
        """
        changes = self.pending.columns | (changes or {})
        if self.pending.progress and (self.run.crashes or self.run.alone):
            self.run.crashes, self.run.alone = 0, False
            changes |= {"crashes": 0, "alone": False}
        begins = intent or "state" in changes
        if intent and workers.leaving():
            self.half_done = True
            self._begin_only_if_staying()
        if not self.pending.alongside:
            return self._commit(lease, changes, wakes, begins)
        entries = list(self.pending.entries)
        with own_transaction():
            self.lock(under_orders=self.pending.orders is not None)
            for act in self.pending.alongside:
                self.pending.entries += act()
            if self._commit(lease, changes, wakes, begins):
                return True
            transaction.set_rollback(True)
        self.pending.entries = entries
        return False

    def _commit(self, lease: float | None, changes: dict[str, Any], wakes: int | None, begins: bool) -> bool:
        at, lease = self.clock.now(), self._long_enough(lease)
        for tried in range(1, COMMIT_TRIES + 1):
            if begins and self.asked_to:
                raise self.stop(Controlled(self.asked_to))
            sealed, head = journal.seal(self.run.id, self.head, self.pending.entries, actor=self.actor, at=at)
            fence = self._fence(head, lease, changes, wakes)
            began = ticks()
            if self._written(fence, sealed, last=tried == COMMIT_TRIES) or self._was_written(head):
                self._accept(head, began, lease)
                return True
            if fence.orders is not None:
                self._ask_again()
            if wakes is not None and self.run.wakes != wakes:
                return False
        raise self.stop(Fenced(f"{self.run.id} moved on {COMMIT_TRIES} times while it was being written"))

    def _ask_again(self) -> None:
        """Nothing was written, perhaps because of an order: may all that was to begin still be begun?

        Raises Suspend when it may not: then all of it is looked at anew.
        """
        now = orders.read()
        for step_id, allowed in self.pending.begins.items():
            if now.stop_for(allowed.subject) is not None:
                raise self.stop(Suspend("what operators allow", until=self.clock.now()))
            self.pending.begins[step_id] = Allowed(allowed.subject, now.count)

    def _long_enough(self, lease: float | None) -> float | None:
        """No commit shortens the lease below what the acts in hand of other branches need."""
        return None if lease is None else max(lease, self.lanes.busy_for() + MARGIN)

    def commit_together(self, lease: float) -> None:
        """The intents of several branches in one statement."""
        self.commit(lease=lease, intent=True)

    def intend(self, lease: float, step: Step) -> None:
        """Put `step`, which is about to be begun, on record with a lease of `lease` seconds; branches go
        together. Raises Stop, and then it is not begun.
        """
        try:
            if step.effect in ("write", "irreversible") and not workers.may_begin():
                raise self.stop(Unreachable(f"{self.run.id}: this worker's heartbeat is not taken"))
            if step.effect in ("write", "irreversible") and step.state == StepState.STARTED:
                self.pending.begins[step.id] = self.allowed.pop(step.path)
            if self.lanes.current() is None or connection.in_atomic_block:
                self.commit(lease=lease, intent=True)
            else:
                self.lanes.flush(lease)
        except Stop as reason:
            self._never_begun(step, known=not isinstance(reason, Fenced | Unreachable))
            raise

    def _never_begun(self, step: Step, *, known: bool) -> None:
        """Take back the intent of `step`, so that no later commit says that it was begun.

        Another branch may have committed it meanwhile: then it waits to be begun, and is on record as that.
        """
        pending = self.pending
        if known and step.id not in pending.steps:
            self._put_back(step)
            return
        was_new = step.id in pending.new_steps
        pending.forget(step)
        self.open_calls.pop(step.id, None)
        del self.steps[step.path]
        if known and not was_new:
            self.steps[step.path] = Step.objects.get(pk=step.id)

    def _put_back(self, step: Step) -> None:
        if step.id in self._errands:
            return  # it is under way, on another queue
        call = self.open_calls.pop(step.id, None)
        if call is not None:
            call.cancel()
            call.finished_at = self.clock.now()
            self.changed_call(call)
        if step.state == StepState.STARTED:
            step.wait()
            step.due_at, step.not_before = self.clock.now(), None
            self.changed(step)

    def perform(self, body: Callable[[], T], *, timeout: float, waits: bool, slow: bool = False) -> T:
        """Carry out what is on record; beside the acts of other branches when there are any.

        With `waits`, a branch that has lost still waits for it: what changes the world must be recorded.
        Before a `slow` one the connection is given back, and the seat.
        """
        return self.lanes.perform(watch.watched(body, timeout), timeout, waits=waits, slow=slow)

    def lock(self, *, under_orders: bool = False) -> None:
        """The run row for this transaction, in the order switch, run, approval, step: whoever begins in it
        what orders can stop locks it `under_orders`. Raises Fenced.
        """
        if self._owner(under_orders) != (self.worker, self.run.lease_epoch):
            raise self.stop(Fenced(f"{self.run.id} has another owner"))
        self._hear_answers()

    def _owner(self, under_orders: bool) -> tuple[Any, ...] | None:
        if under_orders and connection.vendor == "postgresql":
            return execute_prepared(_OWNER_UNDER_ORDERS, [self.run.id])
        row = _OWNER.first(self.run.id)
        return None if row is None else (row.lease_owner, row.lease_epoch)

    def _hear_answers(self) -> None:
        """With the run locked: questions that were answered, and children that ended, since the steps were
        read.
        """
        asked = {step.id: step for step in self.steps.values() if step.ends_elsewhere}
        if not asked:
            return
        for row in Step.objects.filter(pk__in=asked, run_id=self.run.id).exclude(
            state__in=[StepState.HELD, StepState.WAITING]
        ):
            self.steps[row.path] = row

    def waits_for_order(self, path: str, subject: Subject, order: orders.Stop) -> Suspend:
        """Why the turn ends when what `subject` says may not be begun at `path`; on record with its wait."""
        row = orders.waiting_for(order, self.run.id, path, subject, self.clock.now())
        self.pending.waiting[row.id] = row
        return Suspend(order.sentence)

    def also(self, write: Write) -> None:
        """Rows of another table, with the next commit."""
        self.pending.others.append(write)

    def alongside(self, act: Callable[[], list[Entry]]) -> None:
        """Something to be done in the transaction of the next commit, with the run locked."""
        self.pending.alongside.append(act)

    def _fence(self, head: Head, lease: float | None, changes: dict[str, Any], wakes: int | None) -> Fence:
        moved = {"head_seq": head.seq, "head_hash": head.hash}
        return Fence(
            run_id=self.run.id,
            owner=self.worker,
            epoch=self.run.lease_epoch,
            head_seq=self.head.seq,
            lease_seconds=lease,
            changes=moved | changes,
            wakes=wakes,
            orders=self.pending.orders,
        )

    def _written(self, fence: Fence, sealed: list[journal.Sealed], *, last: bool) -> bool:
        try:
            return checkpoint.write(fence, self.pending.writes(sealed))
        except OperationalError as error:
            # Inside a transaction there is nothing to try again: all of it is gone.
            if last or connection.in_atomic_block:
                raise self.stop(Unreachable(f"{self.run.id}: {error}")) from error
            connection.close()
            return False

    def _was_written(self, head: Head) -> bool:
        """After a write without effect or answer: was it ours after all? Raises Fenced when the run is
        not.
        """
        row = Run.objects.values("state", "lease_owner", "lease_epoch", "head_seq", "head_hash", "wakes").get(
            pk=self.run.id
        )
        if bytes(row["head_hash"]) == head.hash and row["head_seq"] == head.seq and self.pending.entries:
            return True
        if (row["lease_owner"], row["lease_epoch"]) != (self.worker, self.run.lease_epoch):
            raise self.stop(Fenced(f"{self.run.id} has another owner since epoch {row['lease_epoch']}"))
        self.head = Head(row["head_seq"], bytes(row["head_hash"]))
        self.run.wakes = row["wakes"]
        if row["state"] in (RunState.PAUSING, RunState.CANCELLING) and row["state"] != self.claimed_as:
            self.asked_to = row["state"]
        return False

    def _accept(self, head: Head, began: float, lease: float | None) -> None:
        self.head = head
        self.written_at = began
        self.lease_ends = began + (lease or 0.0)
        self.pending = Pending()

    # The run itself

    def move_run(self, reason: str = "") -> dict[str, Any]:
        """After a transition of the run: its new state for `commit`, its history with it."""
        self.pending.run_history.append(
            columns.history_values(
                self.run,
                columns.RUN_HISTORY,
                kind="~",
                actor=self.actor,
                at=self.clock.now(),
                reason=reason or None,
            )
        )
        return {"state": self.run.state}

    def lease_left(self) -> float:
        """Seconds for which this worker may be sure that the run is its own."""
        return self.lease_ends - ticks()

    def must_still_own(self, seconds: float, not_before: datetime | None = None) -> None:
        """Right before an effect that may take `seconds`: a worker that stalled since its intent starts
        nothing. `not_before` is when others may take the effect for lost. Raises Fenced.
        """
        late = not_before is not None and self.clock.after(seconds) > not_before
        if late or self.lease_left() < seconds:
            raise self.stop(Fenced(f"{self.run.id}: the lease may be over before the call could end"))

    def active_ms(self) -> int:
        """Milliseconds that workers have spent on the run, this turn included."""
        return self.run.active_ms + round((ticks() - self.clock.started_ticks) * 1000)

    def now(self) -> datetime:
        """The database's time, in UTC."""
        return self.clock.now()
