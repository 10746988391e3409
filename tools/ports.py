"""What this app tells the one above it: runs fills these when Django is ready; until then nobody listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tools.models import ToolCall


class LockRun(Protocol):
    """Lock the run of a call, in the transaction under way: everybody locks the run before the call."""

    def __call__(self, run_id: str, /) -> object: ...


class OnSettled(Protocol):
    """A call's outcome is known now: the same transaction records it in step, journal and run.

    ``call.state`` is succeeded (with ``call.result``) or failed; ``call.settled_by`` and ``call.note`` say
    who and why. An exception undoes the settlement.
    """

    def __call__(self, call: ToolCall, /) -> object: ...


def _nobody(_: object, /) -> None:
    return None


lock_run: LockRun = _nobody
on_settled: OnSettled = _nobody
