"""Waiting for a named message from outside; one that came before the run waited is taken at once."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from runs.models import Message, Step
from runs.states import StepState
from runs.stops import Suspend
from runs.turns.checkpoint import Write, own_transaction
from runs.turns.turn import Turn
from runs.typed import Misfit, Typed
from tools.canonical import digest

NAME = re.compile(r"[A-Za-z0-9][\w.:-]{0,99}")
TAKEN = ("taken_by", "taken_at")


class TimedOut(Exception):  # noqa: N818 - workflow code reads `except TimedOut`
    """Nobody sent the message, or answered the question, in time; `until` was the moment."""

    def __init__(self, sentence: str, *, until: datetime | None = None) -> None:
        super().__init__(sentence)
        self.until = until


class InvalidMessage(Misfit):
    """A message does not fit the type that the run waits for. `message_id` is the one that was taken, with
    its `payload` as it came; both are empty when it was refused at the door.
    """

    def __init__(self, name: str, problems: list[str], *, message_id: str = "", payload: Any = None) -> None:
        super().__init__(f"The message {name}", problems)
        self.message_id = message_id
        self.payload = payload


def wait_for_message(turn: Turn, path: str, name: str, wanted: Typed, seconds: float | None) -> Any:
    """The oldest message of that name that no step has taken, as the type that is wanted.

    Raises TimedOut `seconds` after the first time this step was reached, InvalidMessage for one that does
    not fit, and Suspend while there is none.
    """
    asked = digest({"message": name, "seconds": seconds})
    with turn.needing_the_database():
        step = turn.find(path, "message", name, asked, arguments={"name": name, "seconds": seconds})
        if step is None:
            step = _wait(turn, path, name, wanted, seconds, asked)
        if step.state == StepState.WAITING:
            _look(turn, step, wanted)
    return _outcome(step, wanted)


def seconds_of(timeout: float | timedelta | None) -> float | None:
    """A timeout in seconds. Raises ValueError for one that is not above nought."""
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    if not 0 < seconds < 1e9:
        raise ValueError(f"a timeout must be a number of seconds above 0, not {timeout!r}")
    return seconds


def _wait(turn: Turn, path: str, name: str, wanted: Typed, seconds: float | None, asked: str) -> Step:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a message; use letters, digits and . _ : -")
    step = turn.new_step(
        path,
        "message",
        name,
        asked,
        state=StepState.WAITING.value,
        arguments={"name": name, "seconds": seconds, "schema": wanted.schema},
        due_at=turn.clock.after(seconds) if seconds is not None else None,
    )
    turn.note("message.awaited", f"Looks for the message {name}", step, until=_moment(step.due_at))
    return step


def _look(turn: Turn, step: Step, wanted: Typed) -> None:
    """Take the message if it is there; note that it did not come once the time is over."""
    message = _oldest(turn, step)
    if message is not None:
        _take(turn, step, message, wanted)
    elif step.due_at is None or turn.now() < step.due_at:
        raise turn.stop(Suspend(f"the message {step.name}", until=step.due_at))
    else:
        _give_up(turn, step, wanted)


def _oldest(turn: Turn, step: Step) -> Message | None:
    """By the time it was sent; one sent after the deadline is left for whoever waits next."""
    there = Message.objects.filter(run_id=turn.run.id, name=step.name, taken_by="").order_by("sent_at", "id")
    if step.due_at is not None:
        there = there.filter(sent_at__lte=step.due_at)
    # What another branch took in this turn may not be written yet.
    return there.exclude(pk__in=turn.messages_taken).first() if turn.messages_taken else there.first()


def _take(turn: Turn, step: Step, message: Message, wanted: Typed) -> None:
    turn.messages_taken.add(message.id)
    turn.also(Write(Message, TAKEN, updates=[(message.id, step.id, turn.now())]))
    try:
        step.result = wanted.record(message.payload, f"The message {step.name}")
    except Misfit as error:
        step.fail()
        told = {"message": str(error), "problems": error.problems}
        step.error = {"kind": "invalid_data", **told, "id": message.id, "payload": message.payload}
        turn.finished(step)
        turn.note("message.misfit", f"The message {step.name} does not fit", step, id=message.id)
        return
    step.succeed()
    turn.finished(step)
    content = {"message": message.id, "sender": message.sender, "result": digest(step.result)}
    turn.note("message.taken", f"Took the message {step.name}", step, **content)


def _give_up(turn: Turn, step: Step, wanted: Typed) -> None:
    """With the run locked, as a sender locks it: a message sent in time is never passed over."""
    with own_transaction():
        turn.lock()
        message = _oldest(turn, step)
        if message is not None:
            _take(turn, step, message, wanted)
        else:
            step.fail()
            sentence = f"Nobody sent the message {step.name} in time"
            step.error = {"kind": "timed_out", "message": sentence, "until": _moment(step.due_at)}
            turn.finished(step)
            turn.note("message.timed_out", sentence, step)
        turn.commit()


def _outcome(step: Step, wanted: Typed) -> Any:
    error = step.error or {}
    if step.state == StepState.SUCCEEDED:
        return wanted.read(step.result, f"The message {step.name}")
    if error.get("kind") == "timed_out":
        raise timed_out(error)
    raise InvalidMessage(
        step.name, error.get("problems", []), message_id=error.get("id", ""), payload=error.get("payload")
    )


def timed_out(error: dict[str, Any]) -> TimedOut:
    """The exception that a step's recorded error stands for."""
    until = error.get("until")
    return TimedOut(error["message"], until=datetime.fromisoformat(until) if until else None)


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
