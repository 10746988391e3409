"""What people may do with a run that is under way; each verb says what it stops and what it does not."""

from __future__ import annotations

from runs import messages
from runs.actors import acting_as, plain_name
from runs.checkpoint import own_transaction
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Run
from runs.services.record import NotPossible, append_entries, lock_run
from runs.services.waking import HINT_LOST_AFTER
from runs.states import RunState


def resume_run(run_id: str, *, actor: str, reason: str) -> Run:
    """Let a run that needed attention go on. Raises NotPossible in any other state or without a reason."""
    if not reason.strip():
        raise NotPossible("Say why it may go on: the reason is kept with the run.")
    with own_transaction(), acting_as(actor):
        run = lock_run(run_id)
        if run.state != RunState.NEEDS_ATTENTION:
            raise NotPossible(f"{run.id} is {run.state}; only a run that needs attention can be resumed.")
        let_go_on(run, reason, actor)
    return run


def let_go_on(run: Run, reason: str, actor: str) -> None:
    """Queue the run (locked by the caller) again, with its count of deaths forgotten."""
    run.resume()
    run.crashes, run.alone, run.attention = 0, False, None
    run.wake_at = db_now() + HINT_LOST_AFTER
    run._change_reason = reason  # type: ignore[attr-defined]
    entry = Entry("run.resumed", f"{plain_name(actor)} let it go on: {reason}", {"reason": reason})
    append_entries(run, [entry], actor=actor)
    run.save()
    messages.hint(run.id, run.queue)
