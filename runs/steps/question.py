"""A typed question to a person: a held step with its schema, until somebody answers or the time is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runs import questions
from runs.models import Step
from runs.states import StepState
from runs.steps.message import timed_out
from runs.stops import Suspend
from runs.turns.checkpoint import own_transaction
from runs.turns.turn import Turn
from runs.typed import Typed
from tools.canonical import digest, normalise

WHAT = "The answer"


@dataclass(frozen=True)
class Asked:
    """What is asked of whom: `to` is ``user:`` and a username, the name of a group, or empty for everyone
    who may answer.
    """

    question: str
    wanted: Typed
    to: str = ""
    seconds: float | None = None
    evidence: Sequence[Any] = ()

    @property
    def as_json(self) -> dict[str, Any]:
        """What goes on record."""
        shown = [item if isinstance(item, dict) else normalise(item) for item in self.evidence]
        asked = {"question": self.question, "to": self.to, "seconds": self.seconds, "evidence": shown}
        return dict(normalise(asked | {"schema": self.wanted.schema}))


def ask(turn: Turn, path: str, asked: Asked) -> Any:
    """The answer as the type that is wanted.

    Raises TimedOut when nobody answered in time, Misfit when the type refuses what the schema let through,
    and Suspend while nobody has answered.
    """
    if not asked.question.strip():
        raise ValueError("a question needs words: run.ask('Which account shall be used?')")
    given = asked.as_json
    with turn.needing_the_database():
        step = turn.find(path, "question", "question", digest(given), arguments=given)
        if step is None:
            step = _open(turn, path, given)
        if step.state == StepState.HELD:
            step = _wait(turn, step)
    if step.state == StepState.SUCCEEDED:
        return asked.wanted.read(step.result, WHAT)
    raise timed_out(step.error or {"message": "Nobody answered in time"})


def _open(turn: Turn, path: str, given: dict[str, Any]) -> Step:
    seconds = given["seconds"]
    step = turn.new_step(
        path,
        "question",
        "question",
        digest(given),
        state=StepState.HELD.value,
        arguments=given,
        due_at=turn.clock.after(seconds) if seconds is not None else None,
    )
    # What is asked may be personal: it stands in the content, which can be purged, not in the sentence.
    until = step.due_at.isoformat() if step.due_at else None
    content = {"question": given["question"], "to": given["to"], "until": until}
    turn.note("question.asked", f"Asks {questions.whom(given['to'])} a question", step, **content)
    return step


def _wait(turn: Turn, step: Step) -> Step:
    if step.due_at is not None and turn.now() >= step.due_at:
        return _give_up(turn, step)
    raise turn.stop(
        Suspend(f"an answer from {questions.whom_of(step)}", until=step.due_at),
    )


def _give_up(turn: Turn, step: Step) -> Step:
    """The time is over: with the run locked, so that an answer that was taken in time counts."""
    with own_transaction():
        turn.lock()
        step = turn.steps[step.path]
        if step.state != StepState.HELD:
            return step
        step.leave_unanswered()
        sentence = f"Nobody answered in time ({questions.whom_of(step)} was asked)"
        until = step.due_at.isoformat() if step.due_at else None
        step.error = {"kind": "timed_out", "message": sentence, "until": until}
        turn.finished(step)
        turn.note("question.timed_out", sentence, step)
        turn.commit()
    return step
