"""How a turn ends early: BaseExceptions, so that no `except Exception` in a workflow keeps one."""

from __future__ import annotations

from datetime import datetime


class Stop(BaseException):
    """The turn ends here; what is on record stays, and a later turn replays it."""


class Suspend(Stop):
    """The run must wait: for a person, for a moment, for an event. Nothing is wrong.

    `until` is the moment (aware) from which it is worth trying again; None when only an event wakes the run.
    """

    def __init__(self, reason: str = "", *, until: datetime | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until


class Fenced(Stop):
    """Another worker owns the run now: this turn may write nothing more and is forgotten."""


def named(kind: str, name: str) -> str:
    """A step in words, such as ``tool get_order``; a kind that has no further names is said once."""
    return kind if kind == name else f"{kind} {name}"


class Diverged(Stop):
    """The code asks for another step than the one on record at this path, so nothing is executed.

    `path` names the step; `recorded` and `asked` say briefly what stands there and what the code wanted;
    the arguments of both are JSON, None where they are not known.
    """

    def __init__(
        self,
        path: str,
        recorded: str,
        asked: str,
        *,
        recorded_arguments: object = None,
        asked_arguments: object = None,
    ) -> None:
        super().__init__(f"step {path}: recorded is {recorded}, the code now asks for {asked}")
        self.path = path
        self.recorded = recorded
        self.asked = asked
        self.recorded_arguments = recorded_arguments
        self.asked_arguments = asked_arguments


class Stalled(Stop):
    """This process's event loop no longer answers: the turn is given up, to be taken over after its lease."""


class Unreachable(Stop):
    """The database does not answer: nothing is known to be written, so nothing more is done in this turn."""


class NeedsAttention(Stop):
    """The run cannot go on by itself and a person must look.

    `code` is for machines, `sentence` for people, `details` for the page.
    """

    def __init__(self, code: str, sentence: str, **details: object) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.details = details


class Controlled(Stop):
    """A person asked the run to pause or to end: the turn starts nothing new, and obeys."""


class HandedOver(Stop):
    """This worker was asked to end: the turn begins nothing new, and another worker goes on."""


class Lost(Stop):
    """Another branch decided: this one is given up, and what it had not finished is cancelled."""


class Restarting(Stop):
    """The run ends here and goes on as a fresh one with the recorded input `value`."""

    def __init__(self, value: object) -> None:
        super().__init__("restarts")
        self.value = value


class EndOfRecord(Stop):
    """A replay without effects has come to the end of what is recorded: here the code would act.

    `path`, `kind` and `name` say what it would do.
    """

    def __init__(self, path: str, kind: str, name: str) -> None:
        super().__init__(f"step {path}: {named(kind, name)} is not on record")
        self.path = path
        self.kind = kind
        self.name = name
