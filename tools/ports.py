"""What this app tells the one above it: runs fills these when Django is ready; until then nobody listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tools.models import ToolCall
    from tools.orders import Begun


class LockRun(Protocol):
    """Lock the run of a call, in the transaction under way: everybody locks the run before the call."""

    def __call__(self, run_id: str, /) -> object: ...


class OnSettled(Protocol):
    """A call's outcome is known now: the same transaction records it in step, journal and run.

    ``call.state`` is succeeded (with ``call.result``) or failed; ``call.settled_by`` and ``call.note`` say
    who and why. An exception undoes the settlement.
    """

    def __call__(self, call: ToolCall, /) -> object: ...


class UsersOf(Protocol):
    """Who declares that it uses the tool of this name, such as ``agent support-desk version 1``."""

    def __call__(self, tool: str, /) -> list[str]: ...


class RequesterOf(Protocol):
    """The actor who asked for the run of this id; empty when nobody knows."""

    def __call__(self, run_id: str, /) -> str: ...


class ArgumentsOf(Protocol):
    """The arguments of a call as JSON; None when they are kept no longer."""

    def __call__(self, call: ToolCall, /) -> dict[str, Any] | None: ...


class OnSaid(Protocol):
    """A person said something about a call in doubt, and it stays in doubt: the same transaction records
    `sentence` and `content` in the journal of its run, which is locked.
    """

    def __call__(self, call: ToolCall, by: str, sentence: str, content: dict[str, Any], /) -> object: ...


class WakeRun(Protocol):
    """What the run of this id waits for may be there: have it look. False when the run has ended."""

    def __call__(self, run_id: str, /) -> bool: ...


class InHand(Protocol):
    """The tool calls and model requests that are under way, as far as the record shows."""

    def __call__(self) -> list[Begun]: ...


class NamesOf(Protocol):
    """The names of all agents, or of all workflows: of the `kind` of switch that stops one of them."""

    def __call__(self, kind: str, /) -> list[str]: ...


class StillWait(Protocol):
    """How many of the runs of these ids stand still and have not ended."""

    def __call__(self, run_ids: list[str], /) -> int: ...


def _nobody(_: object, /) -> None:
    return None


in_hand: InHand = lambda: []  # noqa: E731
names_of: NamesOf = lambda _: []  # noqa: E731
still_wait: StillWait = lambda _: 0  # noqa: E731
lock_run: LockRun = _nobody
on_settled: OnSettled = _nobody
users_of: UsersOf = lambda _: []  # noqa: E731
requester_of: RequesterOf = lambda _: ""  # noqa: E731
arguments_of: ArgumentsOf = lambda _: None  # noqa: E731
on_said: OnSaid = lambda *_: None  # noqa: E731
wake_run: WakeRun = lambda _: True  # noqa: E731
