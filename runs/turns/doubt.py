"""Calls that a turn gives up while nobody knows whether they happened: they stay to be settled."""

from __future__ import annotations

from datetime import datetime

from runs.journal import Entry
from runs.models import Step
from runs.services.closing import last_failed, put_in_doubt
from runs.states import StepState
from runs.turns.turn import Turn
from tools.models import CallState, ToolCall


def leave_unknown(
    turn: Turn, step: Step, call: ToolCall | None = None, *, until: datetime | None = None, said: str = ""
) -> Entry:
    """Nobody waits for `step` any more, and it may have happened. Returns what the journal says.

    `call` is the attempt in doubt, if the caller knows; `until` when it can no longer arrive, where that is
    not on record; `said` how it failed.
    """
    call = call or _in_doubt(turn, step)
    entry = put_in_doubt(step, call, until or call.not_before or step.not_before or turn.now(), said)
    turn.changed_call(call)
    turn.changed(step)
    return entry


def _in_doubt(turn: Turn, step: Step) -> ToolCall:
    """The attempt that is under way, or the last one that failed."""
    if step.state == StepState.STARTED:
        return turn.call_of(step)
    known = turn.open_calls.get(step.id)
    return known if known is not None and known.state == CallState.FAILED else last_failed(step)
