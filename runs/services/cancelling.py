"""Cancelling a run: at once when nothing is left to do for it, otherwise after its clean-up."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from runs import endings, gate, workflow
from runs.actors import acting_as, plain_name
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Errand, ErrandState, Run
from runs.services.closing import close_steps, open_steps, with_unknown
from runs.services.control import make_ready, save_with
from runs.services.record import lock_run, said_why
from runs.services.standing import must_allow, was_cancelling
from runs.states import RunState
from runs.turns.checkpoint import own_transaction
from runs.workflow import UnknownWorkflow
from tools.models import ToolCall


def cancel_run(run_id: str, *, actor: str, reason: str) -> Run:
    """End the run before its end. Its open requests are withdrawn, and nothing new is begun.

    With a worker, or with clean-up code of its workflow, it is `cancelling` until a worker has cleaned up;
    otherwise, and when its clean-up has failed, it ends at once. A call that is under way ends and is
    recorded; what was done is not undone, and what nobody knows the outcome of stays unknown. Raises
    NotFound, and NotPossible in the wrong state or without a reason.
    """
    why = said_why(reason)
    with own_transaction(), acting_as(actor):
        run = lock_run(run_id)
        must_allow("cancel", run)
        if ends_at_once(run):
            _end(run, actor, why)
        else:
            _ask(run, actor, why)
    return run


def ends_at_once(run: Run) -> bool:
    """Whether no worker is needed to cancel it: none has it, and there is nothing to clean up, or that has
    failed.
    """
    if run.state in (RunState.RUNNING, RunState.PAUSING):
        return False
    return was_cancelling(run) or not (has_cleanup(run) or _has_errands(run))


def has_cleanup(run: Run) -> bool:
    """Whether its workflow has clean-up code. A worker may know where this process does not."""
    try:
        return workflow.get(run.workflow, run.version).on_cancel is not None
    except UnknownWorkflow:
        return True


def _has_errands(run: Run) -> bool:
    """Whether other workers have calls of it in hand, whose answers a turn must read."""
    states = (ErrandState.WAITING, ErrandState.TAKEN, ErrandState.DONE)
    return Errand.objects.filter(run_id=run.id, state__in=states).exists()


def _ask(run: Run, actor: str, why: str) -> None:
    has_worker = run.state in (RunState.RUNNING, RunState.PAUSING)
    run.ask_to_cancel()
    run.stop_reason, run.attention, run.waiting_for = why, None, ""
    said = f"{plain_name(actor)} asked it to end: {why}"
    entries = [Entry("run.cancelling", said, {"reason": why})]
    entries += gate.installed().withdraw(run.id, "the run is being cancelled")
    if not has_worker:
        make_ready(run)
    save_with(run, entries, actor, why)


def _end(run: Run, actor: str, why: str) -> None:
    skipped = was_cancelling(run)
    run.cancel()
    run.stop_reason, run.attention, run.waiting_for, run.wake_at = why, None, "", None
    run.finished_at = db_now()
    run.output = {"error": {"type": "Cancelled", "message": why, "by": actor}}
    how = "cancelled it without the rest of its clean-up" if skipped else "cancelled it"
    entries = close_steps(open_steps(run), why)
    entries += gate.installed().withdraw(run.id, "the run was cancelled")
    unknown = ToolCall.objects.unknown().filter(run_id=run.id).count()
    content = {"reason": why, "without_cleanup": skipped} | ({"unknown": unknown} if unknown else {})
    said = with_unknown(f"{plain_name(actor)} {how}: {why}", unknown)
    entries.append(Entry("run.cancelled", said, content))
    save_with(run, entries, actor, why)
    transaction.on_commit(partial(endings.ended, run))
