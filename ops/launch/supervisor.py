"""Keeps a set of child processes running until one Ctrl-C ends them all."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from ops.launch.processes import ChildProcess

#: A process that lived for so many seconds starts again with a clean slate.
STEADY = 60.0
#: Deaths in a row, none of them after a steady life, that make us give up.
PATIENCE = 6
SLOWEST = 15.0
#: A child that ends with this code wants another in its place: that does not mean that it cannot live.
REPLACE_ME = 75


class GaveUp(Exception):
    """A process ended again and again; the message holds its last words."""


@dataclass
class Watched:
    """A child and how often it has died in a row; `due` is when to start it again, by the monotonic clock."""

    child: ChildProcess
    deaths: int = 0
    started: float = field(default_factory=time.monotonic)
    due: float | None = None

    def note_death(self, now: float) -> float:
        """Counts a death and returns the seconds to wait before the next start."""
        if self.child.exit_code != REPLACE_ME:
            self.deaths = 1 if now - self.started > STEADY else self.deaths + 1
        pause = min(SLOWEST, 0.5 * 2 ** max(0, self.deaths - 1))
        self.due = now + pause
        return pause

    def note_start(self, now: float) -> None:
        """It runs again."""
        self.started, self.due = now, None


class Supervisor:
    """Starts children in order, restarts those that die, and stops them in the opposite order."""

    def __init__(self, say: Callable[[str], None], grace: float = 10) -> None:
        self._say = say
        self._grace = grace
        self._watched: list[Watched] = []

    @contextmanager
    def running(self) -> Iterator["Supervisor"]:
        """Ends all children when the block is left, however that happens; Ctrl-C and TERM leave it."""
        before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            yield self
        finally:
            self._stop_all()
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, child: ChildProcess) -> None:
        """Starts a child and watches it from now on."""
        child.start()
        self._watched.append(Watched(child))

    def watch(self, until: Callable[[], bool] = lambda: False, pause: float = 0.2) -> None:
        """Restarts whatever ends, until the condition holds. Raises GaveUp on a child that cannot live."""
        while not until():
            for watched in self._watched:
                self._look_after(watched, time.monotonic())
            time.sleep(pause)

    def _look_after(self, watched: Watched, now: float) -> None:
        child = watched.child
        if watched.due is None and not child.alive():
            pause = watched.note_death(now)
            child.kill()  # nothing of its group may live on beside its successor
            if watched.deaths >= PATIENCE:
                words = f"{child.name} ended {watched.deaths} times. Its log {child.log} ends:"
                raise GaveUp(f"{words}\n{child.last_words()}")
            self._say(
                f"{child.name} ended with code {child.exit_code}, starts again in {pause:.1f} s ({child.log})"
            )
        elif watched.due is not None and now >= watched.due:
            child.start()
            watched.note_start(now)

    def _stop_all(self) -> None:
        children = [watched.child for watched in reversed(self._watched)]
        try:
            # All but the first, which the others may need to end well.
            for child in children[:-1]:
                if child.alive():
                    child.send(child.stop_signal)
            deadline = time.monotonic() + self._grace
            for child in children:
                child.stop(max(0.1, deadline - time.monotonic()))
        except KeyboardInterrupt:
            for child in children:
                child.kill()


def _leave(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
