"""Before a run ends: nothing of it stays open, and what nobody knows the end of is said to be unknown."""

from __future__ import annotations

from functools import partial

from runs.errands import sending as errands
from runs.models import CLEAN_UP, Step
from runs.states import STEP_ENDED, StepState
from runs.turns.turn import Turn
from tools.failures import FailureClass


def asks_somebody(turn: Turn, *, with_cleanup: bool = False) -> bool:
    """Whether a person is being asked about an open step: then it is closed with the run locked."""
    return any(step.state == StepState.HELD for step in _open(turn, with_cleanup))


def close_what_is_open(turn: Turn, *, with_cleanup: bool = False) -> None:
    """Cancel the steps that nobody will finish.

    Steps of the clean-up itself stay open unless `with_cleanup`. A call that was begun and may have changed
    the world is not cancelled: it is left as unknown, for the lookup or a person to settle.
    """
    for step in _open(turn, with_cleanup):
        close(turn, step)


def _open(turn: Turn, with_cleanup: bool) -> list[Step]:
    return [
        step
        for step in turn.steps.values()
        if step.state not in STEP_ENDED
        and step.state != StepState.UNKNOWN
        and (with_cleanup or not step.path.startswith(CLEAN_UP))
    ]


def close(turn: Turn, step: Step) -> bool:
    """Give up one open step; True when a person was being asked about it."""
    held: bool = step.state == StepState.HELD
    if step.is_open_question:
        turn.note("question.withdrawn", "The question needs no answer any more", step)
    if step.state == StepState.STARTED and turn.errand_of(step) is not None:
        turn.alongside(partial(errands.give_up, turn, step))
    elif step.state == StepState.STARTED and step.effect in ("write", "irreversible"):
        _leave_unknown(turn, step)
    else:
        step.cancel()
        step.finished_at = turn.clock.now()
        if step.is_child:
            step.due_at = turn.clock.now()  # the child is still to be cancelled
        turn.changed(step)
    return held


def _leave_unknown(turn: Turn, step: Step) -> None:
    call = turn.call_of(step)
    call.doubt()
    call.not_before = call.not_before or step.not_before or turn.clock.now()
    call.failure_class, call.error = (
        FailureClass.UNKNOWN_OUTCOME.value,
        "The run ended while it was under way.",
    )
    turn.changed_call(call)
    step.lose()
    turn.changed(step)
    turn.note("call.unknown", f"Nobody knows whether {step.name} happened", step, call=call.id)
