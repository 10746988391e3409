"""Values that would differ on replay (a moment, a random number): taken once, then read from the record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runs.states import StepState
from runs.turns.turn import Turn
from tools.canonical import digest


def record_value(turn: Turn, path: str, name: str, take: Callable[[], Any], *, said: str = "") -> Any:
    """The value recorded at `path`; at the first time `take` makes it, and it goes with the next commit.

    Nothing outside has seen it before then: every effect comes after a commit.
    """
    step = turn.find(path, "value", name, digest(name))
    if step is not None:
        return step.result
    value = take()
    step = turn.new_step(
        path,
        "value",
        name,
        digest(name),
        state=StepState.SUCCEEDED.value,
        result=value,
        finished_at=turn.now(),
    )
    turn.note("value.recorded", said or f"Took {name}: {value}", step, value=value)
    return value
