"""advance(run): claim it, replay it, go on until it ends or must wait. Knows no queue and no approvals."""

from __future__ import annotations

import logging
import traceback
from enum import StrEnum
from typing import Any

from runs import endings, gate, messages, workflow
from runs.actors import acting_as, plain_name
from runs.code import digest_of
from runs.context import Run
from runs.crew import workers
from runs.gate import Next, Rejected
from runs.models import CLEAN_UP
from runs.states import RunState
from runs.steps.restart import continue_as
from runs.stops import (
    Controlled,
    Diverged,
    Fenced,
    HandedOver,
    NeedsAttention,
    Restarting,
    Stalled,
    Suspend,
    Unreachable,
)
from runs.turns import cleanup, lease
from runs.turns.checkpoint import own_transaction
from runs.turns.turn import Turn
from runs.workflow import Workflow
from tools.failures import keepable

logger = logging.getLogger(__name__)

#: What a person settles or grants, also before the run has stopped for it; they wake it then.
CURED_FROM_OUTSIDE = ("unknown_outcome", "budget")


class Outcome(StrEnum):
    """How a turn ended, for whoever asked for it."""

    NOT_READY = "not_ready"  # somebody else has the run, or there is nothing to do
    ENDED = "ended"  # it succeeded, failed or was cancelled
    WAITING = "waiting"  # it waits as rows
    NEEDS_ATTENTION = "needs_attention"
    PAUSED = "paused"  # a person asked for it
    HANDED_OVER = "handed_over"  # this worker was asked to end; another goes on
    FENCED = "fenced"  # another worker owns it now; nothing more was written


def advance(run_id: str, worker: str, *, suspects: bool = True) -> Outcome:
    """Take the run on as far as it goes in one turn of `worker`.

    Without `suspects`, a run that must be alone is left to somebody else.

    Safe to call at any time, any number of times: only one caller at a time gets the run.
    """
    turn = lease.claim(run_id, worker, suspects=suspects)
    if turn is None:
        return Outcome.NOT_READY
    try:
        # What a gate writes in a turn's transactions is written by the worker, and its history says so.
        with acting_as(turn.actor):
            while True:
                outcome = _turn_once(turn)
                if outcome is not None:
                    return outcome
                turn = lease.load_again(turn)
    except (Fenced, Stalled, Unreachable) as reason:
        logger.warning("turn given up: %s", reason, extra={"run": run_id, "worker": worker})
        return Outcome.FENCED


def _turn_once(turn: Turn) -> Outcome | None:
    """One pass from the top; None when there is reason to look again at once: it was woken while it went to
    wait, or a person asked it to pause or to end.
    """
    try:
        try:
            return _hand_over(turn) if _must_go(turn) else _advance(turn)
        except HandedOver:
            return None if turn.half_done else _hand_over(turn)
        except Suspend as reason:
            return Outcome.WAITING if _wait(turn, reason) else None
        except NeedsAttention as reason:
            return _halt_unless_cured(turn, reason)
        except Restarting as reason:
            return _restart(turn, reason.value)
        except Diverged as reason:
            return _halt(turn, "diverged", f"The code no longer fits the record: {reason}", vars(reason))
        except workflow.UnknownWorkflow as error:
            return _halt(turn, "missing_code", f"{error} Deploy it again, then resume the run.", {})
    except Controlled:
        return None


def _advance(turn: Turn) -> Outcome | None:
    """What is to be done with a claimed run: go on, pause, or clean up before the end."""
    if turn.run.state == RunState.PAUSING:
        return _pause(turn)
    definition = workflow.get(turn.run.workflow, turn.run.version)
    _notice_changed_code(turn, definition)
    if turn.run.state == RunState.CANCELLING:
        return _clean_up(turn, definition)
    try:
        output = definition.function(Run(turn), definition.read_input(turn.run.input))
        turn.go_on_only_if_running()
        turn.check_all_visited()
        recorded = definition.write_output(output)
    except Rejected as verdict:
        return _rejected(turn, verdict)
    except Exception as error:
        return _failed(turn, error)
    return _end(turn, "succeed", output=recorded)


def _notice_changed_code(turn: Turn, definition: Workflow) -> None:
    """Say once that this version has other code than when the run was last taken on."""
    known, here = turn.run.code, digest_of(definition)
    if here in ("", known):
        return
    turn.set_column("code", here)
    if known:
        said = f"The code of {definition.name} version {definition.version} is not what it was"
        turn.note("run.code_changed", said, None, before=known, now=here)


def _must_go(turn: Turn) -> bool:
    return workers.leaving() and turn.run.state != RunState.PAUSING


def _hand_over(turn: Turn) -> Outcome:
    """Give the run back, with all that is done, so that another worker goes on with it at once."""
    run = turn.run
    run.wait_in_cleanup() if run.state == RunState.CANCELLING else run.hand_over()
    said = "Handed over: its worker was asked to end"
    changes = turn.move_run(said) | {
        "lease_owner": "",
        "lease_until": None,
        "wake_at": turn.now() + messages.HINT_LOST_AFTER,
        "active_ms": turn.active_ms(),
    }
    turn.note("run.handed_over", said)
    turn.commit(lease=None, changes=changes)
    messages.tell(run)
    return Outcome.HANDED_OVER


def _pause(turn: Turn) -> Outcome:
    turn.run.pause()
    said = "Stands still, as asked"
    changes = turn.move_run(turn.run.stop_reason) | {"lease_owner": "", "lease_until": None, "wake_at": None}
    turn.note("run.paused", said)
    turn.commit(lease=None, changes=changes)
    return Outcome.PAUSED


def _clean_up(turn: Turn, definition: Workflow) -> Outcome | None:
    """What the workflow wants done before it ends, as steps like any other, below ``cancel/``."""
    if cleanup.others_may_end(turn):
        with own_transaction():
            turn.lock()
            cleanup.close_what_is_open(turn)
            turn.pending.entries += gate.installed().withdraw(turn.run.id, "the run is being cancelled")
            turn.commit()
    else:
        cleanup.close_what_is_open(turn)
    if definition.on_cancel is not None:
        try:
            definition.on_cancel(Run(turn, CLEAN_UP), definition.read_input(turn.run.input))
            turn.go_on_only_if_running()
        except Exception as error:
            logger.info("clean-up failed", exc_info=error, extra={"run": turn.run.id})
            sentence = f"Its clean-up failed: {_said(error, 500)}"
            return _halt(turn, "cleanup_failed", sentence, {})
    sentence = f"Cancelled: {turn.run.stop_reason}"
    output = {"error": {"type": "Cancelled", "message": turn.run.stop_reason}}
    return _end(turn, "cancel", kind="run.cancelled", sentence=sentence, output=output)


def _wait(turn: Turn, reason: Suspend) -> bool:
    """Give the run back until it is woken; False when it was woken before it could wait."""
    run, wakes = turn.run, turn.woken
    run.wait_in_cleanup() if run.state == RunState.CANCELLING else run.wait()
    run.waiting_for = reason.reason
    changes = turn.move_run(reason.reason) | {
        "waiting_for": reason.reason,
        "wake_at": reason.until,
        "lease_owner": "",
        "lease_until": None,
        "active_ms": turn.active_ms(),
    }
    turn.note("run.waiting", f"Waits for {reason.reason}" if reason.reason else "Waits")
    if turn.commit(lease=None, changes=changes, wakes=wakes):
        return True
    _keep_what_was_done(turn)
    return False


def _keep_what_was_done(turn: Turn) -> None:
    """Woken before it could stop: the run goes on under this claim, and looks again."""
    turn.pending.run_history.clear()
    turn.pending.entries.pop()
    turn.commit()


def _end(turn: Turn, transition: str, *, kind: str = "", sentence: str = "", **values: Any) -> Outcome:
    run = turn.run
    getattr(run, transition)()
    run.finished_at = turn.now()
    changes = turn.move_run(sentence) | values
    changes |= {
        "finished_at": run.finished_at,
        "lease_owner": "",
        "lease_until": None,
        "wake_at": None,
        "active_ms": turn.active_ms(),
    }
    told = (kind or "run.succeeded", sentence or "The workflow ended")
    if cleanup.others_may_end(turn, with_cleanup=True):
        with own_transaction():
            turn.lock()
            cleanup.close_what_is_open(turn, with_cleanup=True)
            turn.pending.entries += gate.installed().withdraw(run.id, "the run has ended")
            cleanup.note_end(turn, *told)
            turn.commit(lease=None, changes=changes)
    else:
        cleanup.close_what_is_open(turn, with_cleanup=True)
        cleanup.note_end(turn, *told)
        turn.commit(lease=None, changes=changes)
    run.childless = not any(step.is_child for step in turn.steps.values())
    endings.ended(run)
    return Outcome.ENDED


def _restart(turn: Turn, value: object) -> Outcome:
    """End here and go on as a fresh run, all in one transaction."""
    changes = continue_as(turn, value)
    sentence = f"Goes on as {changes['continued_by']}"
    return _end(turn, "succeed", kind="run.restarted", sentence=sentence, **changes)


def _rejected(turn: Turn, verdict: Rejected) -> Outcome:
    """Nobody in the workflow took the no: stop means stop, everything else is a failure to handle it."""
    by = plain_name(verdict.by) if verdict.by else "nobody in time"
    sentence = f"Stopped by {by}: {verdict.reason}"
    error = {"type": type(verdict).__name__, "message": str(verdict), "by": verdict.by}
    if verdict.next is Next.STOP:
        return _end(turn, "cancel", kind="run.cancelled", sentence=sentence, output={"error": error})
    sentence = f"A rejection ({verdict.next.value}) was not handled by the workflow: {verdict.reason}"
    return _end(turn, "fail", kind="run.failed", sentence=sentence, output={"error": error})


def _failed(turn: Turn, error: Exception) -> Outcome:
    logger.info("run failed", exc_info=error, extra={"run": turn.run.id})
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames[-5:]]
    details = {"type": type(error).__name__, "message": keepable(error, 2000), "where": where}
    sentence = f"Failed: {_said(error, 500)}"
    return _end(turn, "fail", kind="run.failed", sentence=sentence, output={"error": details})


def _said(error: Exception, longest: int) -> str:
    return f"{type(error).__name__}: {keepable(error, longest)}"


def _halt_unless_cured(turn: Turn, reason: NeedsAttention) -> Outcome | None:
    """Stop where a person must look; None when one may have cured meanwhile what it stops for."""
    wakes = turn.woken if reason.code in CURED_FROM_OUTSIDE else None
    if _halt(turn, reason.code, reason.sentence, reason.details, wakes=wakes):
        return Outcome.NEEDS_ATTENTION
    _keep_what_was_done(turn)
    return None


def _halt(
    turn: Turn, code: str, sentence: str, details: dict[str, Any], *, wakes: int | None = None
) -> Outcome | None:
    """Stop where a person must look; everything recorded stays as it is. None when it was woken since the
    count `wakes`, and does not stop.
    """
    plain = {key: value for key, value in details.items() if _is_plain(value)}
    if turn.run.state == RunState.CANCELLING:
        plain["cleanup"] = True  # whoever lets it go on lets its clean-up go on
    turn.run.halt()
    turn.run.attention = {"code": code, "sentence": sentence, **plain}
    changes = turn.move_run(sentence)
    changes |= {
        "attention": turn.run.attention,
        "lease_owner": "",
        "lease_until": None,
        "wake_at": None,
        "active_ms": turn.active_ms(),
    }
    turn.note("run.needs_attention", sentence, None, **turn.run.attention)
    return Outcome.NEEDS_ATTENTION if turn.commit(lease=None, changes=changes, wakes=wakes) else None


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | None)
