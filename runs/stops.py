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


class Diverged(Stop):
    """The code asks for another step than the one on record at this path, so nothing is executed.

    `path` names the step; `recorded` and `asked` say briefly what stands there and what the code wanted.
    """

    def __init__(self, path: str, recorded: str, asked: str) -> None:
        super().__init__(f"step {path}: recorded is {recorded}, the code now asks for {asked}")
        self.path = path
        self.recorded = recorded
        self.asked = asked


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
