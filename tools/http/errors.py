"""What can go wrong with a request, each with its class and with what it proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.failures import Fatal, Proof, Refused, Transient, UnknownOutcome

if TYPE_CHECKING:
    from tools.http.answers import Answer


class NotAllowed(Refused):
    """The request would go where it may not go; nothing was sent."""


class NotReached(Transient):
    """There was no connection, so nothing was sent."""

    proof = Proof.NOT_ACCEPTED


class NotTrusted(Fatal):
    """The other side could not show that it is the host it was called by; nothing was sent."""

    proof = Proof.NOT_ACCEPTED


class NoAnswer(Transient):
    """It was sent, or a part of it, and no whole answer came."""


class BadAnswer(Fatal):
    """There was an answer, and it cannot be used: too large, cut off, or no JSON."""


class HalfDone(UnknownOutcome):
    """A request of this call failed, and an earlier one may have changed something."""


class Answered(Exception):
    """The other side answered with another status than one of success; `answer` has all of it."""

    def __init__(self, said: str, answer: Answer) -> None:
        self.answer = answer
        super().__init__(said)

    @property
    def response(self) -> Answer:
        """The same answer, where failures are classed by status and Retry-After."""
        return self.answer
