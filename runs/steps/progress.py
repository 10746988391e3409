"""A line about how far the run has come, for whoever watches: written once, with the next commit."""

from __future__ import annotations

from runs.clock import ticks
from runs.states import StepState
from runs.turns.turn import Turn
from tools.canonical import digest, normalise

KIND = "progress"
QUIET = 1.0  # seconds without a commit after which a line is worth one of its own
MAX_TEXT = 500


def report(turn: Turn, path: str, text: str, done: float | None, of: float | None) -> None:
    """Put the line on record the first time this step is reached."""
    said = str(normalise(text))[:MAX_TEXT]
    given = normalise({"text": said, "done": done, "of": of})
    if turn.find(path, KIND, KIND, digest(KIND), arguments=given) is not None:
        return
    step = turn.new_step(
        path,
        KIND,
        KIND,
        digest(KIND),
        state=StepState.SUCCEEDED.value,
        arguments=given,
        finished_at=turn.now(),
    )
    count = "" if done is None else f" ({done:g}" + (f" of {of:g})" if of is not None else ")")
    turn.note("progress", f"{said}{count}", step, done=done, of=of)
    if ticks() - turn.written_at > QUIET:
        turn.commit()
