"""Pausing a run and letting it go on."""

from __future__ import annotations

from runs.actors import acting_as, plain_name
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Run
from runs.services.places import line_up
from runs.services.record import append_entries, lock_run, said_why
from runs.services.standing import must_allow, was_cancelling
from runs.states import RunState
from runs.turns.checkpoint import own_transaction


def pause_run(run_id: str, *, actor: str, reason: str) -> Run:
    """Have the run stand still until somebody resumes it: at once, or after the step that a worker has in
    hand.

    It stops no call that is under way: that ends and is recorded. Raises NotFound, and NotPossible in the
    wrong state or without a reason.
    """
    why = said_why(reason)
    with own_transaction(), acting_as(actor):
        run = lock_run(run_id)
        must_allow("pause", run)
        if run.state == RunState.RUNNING:
            run.ask_to_pause()
            entry = Entry("run.pausing", f"{plain_name(actor)} asked it to pause: {why}", {"reason": why})
        else:
            run.pause()
            run.wake_at = None
            entry = Entry("run.paused", f"{plain_name(actor)} paused it: {why}", {"reason": why})
        run.stop_reason = why
        save_with(run, [entry], actor, why)
    return run


def resume_run(run_id: str, *, actor: str, reason: str) -> Run:
    """Let a run that is paused or needs attention go on from where it stopped; one that was being cancelled
    goes on with its clean-up.

    What is on record is not done again. Raises NotFound, and NotPossible in the wrong state or without a
    reason.
    """
    why = said_why(reason)
    with own_transaction(), acting_as(actor):
        run = lock_run(run_id)
        must_allow("resume", run)
        let_go_on(run, why, actor)
    return run


def let_go_on(run: Run, reason: str, actor: str) -> None:
    """Queue the run (locked by the caller) again, with its count of deaths forgotten."""
    if was_cancelling(run):
        run.resume_cleanup()
        said = f"{plain_name(actor)} let its clean-up go on: {reason}"
    else:
        run.resume()
        run.stop_reason = ""
        said = f"{plain_name(actor)} let it go on: {reason}"
    make_ready(run)
    save_with(run, [Entry("run.resumed", said, {"reason": reason})], actor, reason)


def make_ready(run: Run) -> None:
    """For the next free worker after this transaction, or in line for its place; the caller saves it."""
    run.crashes, run.alone, run.attention, run.waiting_for = 0, False, None, ""
    line_up(run, db_now())


def save_with(run: Run, entries: list[Entry], actor: str, reason: str) -> None:
    """Row, history and journal of a run that the caller has locked."""
    run._change_reason = reason  # type: ignore[attr-defined]
    append_entries(run, entries, actor=actor)
    run.save()
