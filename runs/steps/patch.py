"""A change of workflow code that runs under way must not see: recorded where new code is first reached."""

from __future__ import annotations

import re

from runs.states import StepState
from runs.turns.turn import Turn
from tools.canonical import digest

KIND = "patch"
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,79}")


def patched(turn: Turn, below: str, calls: int, change: str) -> bool:
    """Whether the run goes by the change: True from the first time this line is reached with nothing recorded
    after it, False when the record went past it without the change.

    Its step stands beside the numbered ones, at ``patch:ID``, so that it shifts none of them. `below` is
    where the code that asks stands, `calls` how many acts it has asked for so far.
    """
    if not _ID.fullmatch(change):
        raise ValueError(
            f"{change!r} cannot name a change; use letters, digits and . _ -, at most 80 of them"
        )
    path = f"{below}{KIND}:{change}"
    turn.go_on_only_if_running()
    if path in turn.steps:
        turn.find(path, KIND, change, digest(change))
        return True
    # What was answered once in a turn stays: the second time round a loop is no other change.
    if path in turn.unpatched:
        return False
    if turn.furthest(below) > calls:
        turn.unpatched.add(path)
        return False
    turn.find(path, KIND, change, digest(change))
    step = turn.new_step(
        path, KIND, change, digest(change), state=StepState.SUCCEEDED.value, finished_at=turn.now()
    )
    turn.note("patch.taken", f"Goes by the change {change}", step)
    return True
