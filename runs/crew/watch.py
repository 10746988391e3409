"""Which bodies this process has in hand, and by when each must be over.

In a process that may be killed (a child of a prefork pool) the operating system's own timer ends it when a
body outlives its time, whatever the body is doing. Elsewhere nobody can end a body: it is only known to hang.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from runs.clock import ticks

T = TypeVar("T")

SOON = 0.001  # seconds; a timer of none would be no timer

_in_hand: dict[object, float] = {}  # by when each must be over, in ticks
_arming = threading.Lock()
_kills = False


def kill_what_overruns() -> None:
    """From now on this process is killed when a body outlives its time. Called in its main thread."""
    global _kills
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _kills = True


@contextmanager
def in_hand(seconds: float) -> Iterator[None]:
    """Something is under way that must be over in `seconds`."""
    mark = object()
    _in_hand[mark] = ticks() + seconds
    _arm()
    try:
        yield
    finally:
        del _in_hand[mark]
        _arm()


def watched(body: Callable[[], T], seconds: float) -> Callable[[], T]:
    """`body`, known to be in hand while it runs, on whichever thread that is."""

    def run() -> T:
        with in_hand(seconds):
            return body()

    return run


def _arm() -> None:
    if not _kills:
        return
    with _arming:
        first = min(list(_in_hand.values()), default=0.0)
        signal.setitimer(signal.ITIMER_REAL, max(SOON, first - ticks()) if first else 0.0)


def hanging(margin: float) -> frozenset[object]:
    """A mark for each body that is over its time by more than `margin` seconds."""
    now = ticks()
    return frozenset(mark for mark, ends in list(_in_hand.items()) if ends + margin < now)


def busy(margin: float) -> bool:
    """Whether a body is under way that is not over its time by more than `margin` seconds."""
    now = ticks()
    return any(ends + margin >= now for ends in list(_in_hand.values()))
