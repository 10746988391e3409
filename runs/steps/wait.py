"""Sleeping: a row with a due time, and no worker until then."""

from __future__ import annotations

from datetime import datetime

from runs.states import StepState
from runs.stops import Suspend
from runs.turns.turn import Turn
from tools.canonical import digest


def sleep_until(turn: Turn, path: str, due_at: datetime | None, seconds: float | None) -> None:
    """Go on no earlier than `due_at`, or `seconds` from the first time this step is reached.

    Raises Suspend while it is not yet time by the database's clock.
    """
    asked = digest({"until": due_at.isoformat() if due_at else None, "seconds": seconds})
    step = turn.find(path, "sleep", "sleep", asked)
    if step is None:
        due = due_at or turn.clock.after(seconds or 0.0)
        step = turn.new_step(
            path,
            "sleep",
            "sleep",
            asked,
            state=StepState.WAITING.value,
            arguments={"seconds": seconds},
            due_at=due,
        )
        turn.note("step.waiting", f"Waits until {due:%Y-%m-%d %H:%M:%S} UTC", step, due_at=due.isoformat())
    if step.state == StepState.SUCCEEDED:
        return
    if step.due_at is not None and turn.now() < step.due_at:
        raise turn.stop(Suspend(f"until {step.due_at:%Y-%m-%d %H:%M:%S} UTC", until=step.due_at))
    step.succeed()
    turn.finished(step)
    turn.note("step.succeeded", "The wait is over", step)
