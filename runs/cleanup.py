"""Before a run ends: nothing of it stays open, and what nobody knows the end of is said to be unknown."""

from __future__ import annotations

from runs.models import Step
from runs.states import STEP_ENDED, StepState
from runs.turn import Turn
from tools.failures import FailureClass

BELOW = "cancel/"  # where the steps of a clean-up stand


def close_what_is_open(turn: Turn, *, with_cleanup: bool = False) -> bool:
    """Cancel the steps that nobody will finish; True when a person was still being asked about one of them.

    Steps of the clean-up itself stay open unless `with_cleanup`. A call that was begun and may have changed
    the world is not cancelled: it is left as unknown, for the lookup or a person to settle.
    """
    held = False
    for step in turn.steps.values():
        if step.state in STEP_ENDED or step.state == StepState.UNKNOWN:
            continue
        if step.path.startswith(BELOW) and not with_cleanup:
            continue
        held = close(turn, step) or held
    return held


def close(turn: Turn, step: Step) -> bool:
    """Give up one open step; True when a person was being asked about it."""
    held: bool = step.state == StepState.HELD
    if step.state == StepState.STARTED and step.effect in ("write", "irreversible"):
        _leave_unknown(turn, step)
    else:
        step.cancel()
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
