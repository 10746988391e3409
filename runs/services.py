"""The verbs on runs: each is one transaction with row, history and journal, and a hint after commit."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from runs import journal, messages, workers, workflow
from runs.actors import acting_as, current, plain_name
from runs.checkpoint import own_transaction
from runs.clock import db_now
from runs.journal import Entry, Head
from runs.models import JournalEntry, Run, Step
from runs.states import RunState, StepState
from tools.canonical import digest, new_id
from tools.models import CallState, ToolCall

SUSPECTS = "tools"  # the queue for runs that must be alone
HINT_LOST_AFTER = timedelta(seconds=5)  # a queued run that nobody claimed by then gets another hint
MAX_CRASHES = 3


class NotPossible(Exception):  # noqa: N818 - read as a sentence where it is caught
    """The run is not in a state in which this can be done; the message says which, and what can be."""


def start_run(
    name: str,
    value: Any,
    *,
    actor: str,
    intent: str = "",
    source: str = "",
    version: int | None = None,
) -> Run:
    """Start a run of the workflow `name` with the JSON input `value`, asked for by `actor`.

    Raises UnknownWorkflow and InvalidInput; nothing is written then.
    """
    definition = workflow.get(name, version)
    recorded = definition.check_input(value)
    with own_transaction(), acting_as(actor):
        now = db_now()
        run = Run(
            id=new_id("run"),
            workflow=definition.name,
            version=definition.version,
            intent=intent,
            requester=actor,
            source=source,
            queue=definition.queue,
            input=recorded,
            created_at=now,
            wake_at=now + HINT_LOST_AFTER,
        )
        said = f"{plain_name(actor)} asked for {definition.name}" + (f": {intent}" if intent else "")
        content = {"workflow": name, "version": definition.version, "input": digest(recorded)}
        _chain(run, [Entry("run.started", said, content)], actor, now)
        run.save(force_insert=True)
        messages.hint(run.id, run.queue)
    return run


def lock_run(run_id: str) -> Run:
    """The run, locked until the end of the caller's transaction. Raises Run.DoesNotExist."""
    return Run.objects.select_for_update().get(pk=run_id)


def append_entries(run: Run, entries: Iterable[Entry], *, actor: str) -> None:
    """Put `entries` into the journal of `run`, which the caller has locked; moves the head in row and
    object.
    """
    _chain(run, entries, actor, db_now())
    Run.objects.filter(pk=run.pk).update(head_seq=run.head_seq, head_hash=run.head_hash)


def _chain(run: Run, entries: Iterable[Entry], actor: str, at: datetime) -> None:
    head = Head(run.head_seq, bytes(run.head_hash))
    rows, head = journal.seal(run.id, head, entries, actor=actor, at=at)
    JournalEntry.objects.bulk_create(rows)
    run.head_seq, run.head_hash = head.seq, head.hash


def wake(run: Run) -> None:
    """What the run (locked by the caller) waits for may be there: have it look.

    Also right while a worker has it: the count makes that worker look again before it goes to wait.
    """
    run.wakes += 1
    if run.state == RunState.WAITING:
        run.wake()
        run.wake_at, run.waiting_for = db_now() + HINT_LOST_AFTER, ""
        run.save(update_fields=["state", "wakes", "wake_at", "waiting_for"])
        messages.hint(run.id, _queue_of(run))
        return
    Run.objects.filter(pk=run.pk).update(wakes=run.wakes)


def _queue_of(run: Run) -> str:
    return SUSPECTS if run.alone else run.queue


def wake_due(run_id: str) -> bool:
    """Wake a waiting run whose time has come; False when it is not waiting for the clock any more."""
    with own_transaction():
        run = lock_run(run_id)
        if run.state != RunState.WAITING or run.wake_at is None or run.wake_at > db_now():
            return False
        wake(run)
    return True


def requeue(run_id: str) -> bool:
    """Send another hint for a queued run whose hint nobody took."""
    with own_transaction():
        now = db_now()
        due = Run.objects.filter(pk=run_id, state=RunState.QUEUED, wake_at__lte=now)
        run = due.first()
        if run is None:
            return False
        # Nobody takes suspects here any more: better among others than never.
        run.alone = run.alone and workers.anyone_listens_to(SUSPECTS)
        if not due.update(wake_at=now + HINT_LOST_AFTER, alone=run.alone):
            return False
        messages.hint(run.id, _queue_of(run))
    return True


def rescue_run(run_id: str, epoch: int, *, reason: str, died: bool, proven: bool, alone: bool) -> bool:
    """Take a run from a worker that is gone or out of time, so that the next one goes on with it.

    A compare-and-set on the epoch: of many caretakers one succeeds. `died` counts towards the limit after
    which a person must look; `proven` says that the process is gone for certain, so that a write with a key
    need not wait; `alone` sends it to a worker of its own, without counting: it may only have been near the
    culprit.
    """
    with own_transaction():
        run = lock_run(run_id)
        if run.state != RunState.RUNNING or run.lease_epoch != epoch:
            return False
        suspect = died and alone and not run.alone
        run.crashes += int(died and not suspect)
        run.alone = run.alone or suspect
        lost_owner = run.lease_owner
        run.lease_owner, run.lease_until = "", None
        if proven:
            Step.objects.filter(run=run, state=StepState.STARTED, effect="write").update(not_before=None)
        content = {"epoch": epoch, "worker": lost_owner, "reason": reason, "crashes": run.crashes}
        if run.crashes >= MAX_CRASHES:
            return _quarantine(run, content)
        run.rescue()
        at_once = run.alone or run.crashes < 2
        run.wake_at = db_now() + (HINT_LOST_AFTER if at_once else _apart())
        append_entries(run, [Entry("run.rescued", f"Taken up again: {reason}", content)], actor=current())
        run.save()
        if at_once:
            messages.hint(run.id, _queue_of(run))
    return True


def _apart() -> timedelta:
    """Where nobody runs suspects alone they come back at moments of their own: who dies again was not near
    the culprit, but is it.
    """
    return HINT_LOST_AFTER * random.uniform(0.1, 2.0)  # noqa: S311 - only spreads them


def _quarantine(run: Run, content: dict[str, Any]) -> bool:
    sentence = f"Its worker died {run.crashes} times at the same place; it is not tried again by itself."
    run.halt()
    run.wake_at = None
    run.attention = {"code": "poison", "sentence": sentence}
    append_entries(
        run, [Entry("run.needs_attention", sentence, content | {"code": "poison"})], actor=current()
    )
    run.save()
    return True


def resume_run(run_id: str, *, actor: str, reason: str) -> Run:
    """Let a run that needed attention go on. Raises NotPossible in any other state or without a reason."""
    if not reason.strip():
        raise NotPossible("Say why it may go on: the reason is kept with the run.")
    with own_transaction(), acting_as(actor):
        run = lock_run(run_id)
        if run.state != RunState.NEEDS_ATTENTION:
            raise NotPossible(f"{run.id} is {run.state}; only a run that needs attention can be resumed.")
        _resume(run, reason, actor)
    return run


def _resume(run: Run, reason: str, actor: str) -> None:
    run.resume()
    run.crashes, run.alone, run.attention = 0, False, None
    run.wake_at = db_now() + HINT_LOST_AFTER
    run._change_reason = reason  # type: ignore[attr-defined]
    entry = Entry("run.resumed", f"{plain_name(actor)} let it go on: {reason}", {"reason": reason})
    append_entries(run, [entry], actor=actor)
    run.save()
    messages.hint(run.id, run.queue)


def settle_call(call: ToolCall) -> None:
    """A tool call whose outcome was unknown is settled (in the caller's transaction): its run goes on.

    It happened: the step has its result. It did not: the step may be tried again, with the same key.
    """
    run = lock_run(call.run_id)
    step = Step.objects.select_for_update().get(pk=call.step_id)
    happened = call.state == CallState.SUCCEEDED
    with acting_as(call.settled_by):
        if happened:
            step.succeed()
            step.result, step.error, step.finished_at = call.result, None, call.finished_at
        else:
            step.retry_later()
            step.due_at, step.error = db_now(), None
        step.not_before = None
        step._change_reason = call.note  # type: ignore[attr-defined]
        step.save()
        word = "it happened" if happened else "it did not happen"
        entry = Entry(
            "call.settled",
            f"{plain_name(call.settled_by)} settled {call.tool}: {word}. {call.note}",
            {"call": call.id, "happened": happened, "note": call.note, "result": call.result_digest},
            step.id,
        )
        append_entries(run, [entry], actor=call.settled_by)
        if run.state == RunState.NEEDS_ATTENTION:
            _resume(run, f"{call.tool} is settled: {word}", call.settled_by)
