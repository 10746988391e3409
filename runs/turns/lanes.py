"""Branches of one turn side by side, on the turn's own thread: only the bodies of acts run on threads.

Each branch is a greenlet, so that all work with the database stays on one thread and one connection. A
branch goes on until it must write an intent; when none can go on, the intents of all are written in one
statement and their bodies begin together.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from django.db import connections
from greenlet import getcurrent, greenlet

from runs.clock import ticks
from runs.stops import Lost, Stop

T = TypeVar("T")

SHORT = 0.02  # seconds for which an agent's turn waits before it makes room for others
SIDE_BY_SIDE = 32  # bodies of one turn at a time; their leases must outlive the slowest of them


@dataclass(eq=False)
class Lane:
    """One branch: what it runs, and how it ended."""

    run: Callable[[], Any]
    inside: Lane | None = None  # the branch that this one is part of
    result: Any = None
    error: Exception | None = None
    escape: BaseException | None = None  # neither an error nor a Stop: it ends whoever runs the turn
    refused: Exception | None = None  # why its intent could not be written
    stopped: Stop | None = None
    ended: bool = False
    lost: bool = False
    ends_at: float = 0.0  # ticks by which the act it has in hand must be over
    slow: bool = False  # the act in hand is expected to take long
    look_at: float | None = None  # ticks at which it wants to look again, woken or not
    thread: greenlet | None = field(default=None, repr=False)

    @property
    def decided(self) -> bool:
        """Whether it came to a result or an error; a branch that only waits has not."""
        return self.ended and self.stopped is None


class Lanes:
    """The branches of one turn.

    `commit` writes what is pending, with a lease of so many seconds; a long wait is spent in `aside`.
    """

    def __init__(
        self,
        commit: Callable[[float], None],
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._commit = commit
        self._aside = aside
        self._home: greenlet | None = None
        self._lanes: dict[greenlet, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._flushing: dict[Lane, float] = {}
        self._queueing: deque[Lane] = deque()  # for one of the places that acts have side by side
        self._inbox: SimpleQueue[Lane] = SimpleQueue()

    def current(self) -> Lane | None:
        """The branch that asks; None outside all branches."""
        return self._lanes.get(getcurrent()) if self._lanes else None

    def go_on_only_if_running(self) -> None:
        """Raise why the branch that asks has ended already, if it has."""
        lane = self.current()
        if lane is not None and lane.stopped is not None:
            raise lane.stopped
        if lane is not None and lane.lost:
            raise self._lose(lane)

    def busy_for(self) -> float:
        """Seconds until the last of the acts in hand must be over."""
        return max((lane.ends_at for lane in self._lanes.values()), default=0.0) - ticks()

    # Running them

    def run(
        self, branches: Sequence[Callable[[], Any]], enough: Callable[[Sequence[Lane]], bool]
    ) -> list[Lane]:
        """Run the branches until all have ended, or `enough` says that no more is needed.

        What then still runs is lost: acts that change the world are waited for, everything else is given up.
        """
        mine = self.current()
        lanes = [self._start(branch, mine) for branch in branches]
        over = lambda: all(lane.ended for lane in lanes)  # noqa: E731 - asked for twice, in one line each
        escaped = lambda: any(lane.escape is not None for lane in lanes)  # noqa: E731
        self._go_on_until(lambda: over() or escaped() or (mine is not None and mine.lost) or enough(lanes))
        self._give_up(lanes)
        self._go_on_until(over)
        for lane in lanes:
            if lane.escape is not None:
                raise lane.escape
        return lanes

    def _give_up(self, lanes: Sequence[Lane]) -> None:
        """Those that still run have lost; each gives up the branches that it has inside."""
        for lane in lanes:
            if not lane.ended and not lane.lost:
                lane.lost = True
                self._ready.append(lane)

    def _start(self, branch: Callable[[], Any], inside: Lane | None) -> Lane:
        if self._home is None:
            self._home = getcurrent()
        lane = Lane(branch, inside)
        lane.thread = greenlet(self._serve, parent=self._home)
        lane.thread.gr_context = copy_context()
        self._lanes[lane.thread] = lane
        self._ready.append(lane)
        return lane

    def _serve(self) -> None:
        lane = self._lanes[getcurrent()]
        try:
            lane.result = lane.run()
        except Stop as reason:
            lane.stopped = lane.stopped or reason
        except Exception as error:
            lane.error = error
        except BaseException as escape:
            lane.escape = escape
        lane.ended = True
        del self._lanes[getcurrent()]
        # The branch that this one is part of may have waited for it.
        if lane.inside is not None:
            self._ready.append(lane.inside)

    def _go_on_until(self, done: Callable[[], bool]) -> None:
        """From outside the branches: keep them going. From inside one: let the others go on."""
        while not done():
            if self.current() is None:
                self._round()
            else:
                self._switch()

    def _round(self) -> None:
        """One step of whoever can go on; else of whoever waited for a place; else the intents of all; else
        wait for an act to end.
        """
        if self._ready:
            lane = self._ready.popleft()
            if not lane.ended and lane.thread is not None:
                lane.thread.switch()
        elif self._queueing and not self._full():
            self._ready.append(self._queueing.popleft())  # the one that has waited longest
        elif self._flushing:
            self._write_intents()
        else:
            self._await_news()

    def _write_intents(self) -> None:
        waiting, self._flushing = self._flushing, {}
        try:
            self._commit(max(waiting.values()))
            for lane, lease in waiting.items():
                lane.ends_at = ticks() + lease  # until it has begun: no commit before may shorten its lease
        except Stop as reason:
            for lane in waiting:
                lane.stopped = lane.stopped or reason
        except Exception as error:
            for lane in waiting:
                lane.refused = error
        self._ready.extend(waiting)

    def _await_news(self) -> None:
        moments = [lane.look_at for lane in self._lanes.values() if lane.look_at is not None]
        timeout = max(0.0, min(moments) - ticks()) if moments else None
        slow = all(lane.slow for lane in self._lanes.values() if lane.ends_at > 0.0)
        try:
            with self._aside() if slow else nullcontext():
                self._ready.append(self._inbox.get(timeout=timeout))
        except Empty:
            now = ticks()
            self._ready.extend(lane for lane in self._lanes.values() if (lane.look_at or now + 1) <= now)

    def _switch(self) -> None:
        assert self._home is not None  # noqa: S101 - only called inside a branch
        self._home.switch()

    # What a branch asks for

    def make_room(self) -> None:
        """Wait for a place among the acts side by side. Asked for before anything of an act is pending: what
        waits for a place must not come on record as begun. Raises Stop.
        """
        lane = self.current()
        if lane is None:
            return
        lane.ends_at = 0.0  # whatever it had in hand is over
        if not self._full() and not self._queueing:
            return
        self._queueing.append(lane)
        while lane in self._queueing and not lane.lost:
            self._switch()
        if lane in self._queueing:
            self._queueing.remove(lane)
        self.go_on_only_if_running()

    def _full(self) -> bool:
        return sum(lane.ends_at > 0.0 for lane in self._lanes.values()) + len(self._flushing) >= SIDE_BY_SIDE

    def flush(self, lease: float) -> None:
        """Have the pending intents written, together with those of the others. Raises Stop, and whatever
        kept them from being written.
        """
        lane = self._mine()
        if not lane.lost:
            self._flushing[lane] = lease
        while lane in self._flushing and not lane.lost:
            self._switch()
        self._flushing.pop(lane, None)
        self.go_on_only_if_running()
        if lane.refused is not None:
            error, lane.refused = lane.refused, None
            raise error

    def holds(self, timeout: float) -> None:
        """The branch that asks has something under way elsewhere for up to `timeout` seconds; 0: no more."""
        lane = self.current()
        if lane is not None:
            lane.ends_at = ticks() + timeout if timeout else 0.0

    def perform(self, body: Callable[[], T], timeout: float, *, waits: bool, slow: bool = False) -> T:
        """Run `body`; in a branch, on a thread of its own while the others go on. Raises what it raises, and
        Lost.

        While all that is under way is `slow`, the turn keeps no connection and no seat.
        """
        lane = self.current()
        if lane is None:
            with self._aside() if slow else nullcontext():
                return body()
        act = _Act[T](body, lane, self._inbox)
        lane.ends_at, lane.slow = ticks() + timeout, slow
        try:
            while not act.ended:
                if lane.lost and not waits:
                    raise self._lose(lane)
                self._switch()
        finally:
            lane.ends_at, lane.slow = 0.0, False
        return act.outcome()

    def get(self, queue: SimpleQueue[Any], timeout: float) -> Any:
        """As `queue.get`, letting the other branches go on meanwhile; whoever puts must `nudge`."""
        lane = self.current()
        if lane is None:
            return self._get_alone(queue, timeout)
        lane.look_at = ticks() + timeout
        try:
            while queue.empty():
                if ticks() >= lane.look_at:
                    raise Empty
                if lane.lost and lane.stopped is None:
                    raise self._lose(lane)
                self._switch()
        finally:
            lane.look_at = None
        return queue.get_nowait()

    def _get_alone(self, queue: SimpleQueue[Any], timeout: float) -> Any:
        with suppress(Empty):
            return queue.get(timeout=min(SHORT, timeout))
        with self._aside():
            return queue.get(timeout=max(0.0, timeout - SHORT))

    def nudge(self, lane: Lane | None) -> None:
        """From any thread: there is something for `lane`."""
        if lane is not None:
            self._inbox.put(lane)

    def _mine(self) -> Lane:
        lane = self.current()
        if lane is None:
            raise RuntimeError("only a branch can wait for the others")
        return lane

    @staticmethod
    def _lose(lane: Lane) -> Stop:
        lane.stopped = lane.stopped or Lost("another branch decided")
        return lane.stopped


class _Act(Generic[T]):
    """The body of one act on a thread of its own."""

    def __init__(self, body: Callable[[], T], lane: Lane, inbox: SimpleQueue[Lane]) -> None:
        self._body, self._lane, self._inbox = body, lane, inbox
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.ended = False
        context = copy_context()
        threading.Thread(target=context.run, args=(self._run,), name="act", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result.append(self._body())
        except BaseException as error:
            self._error = error
        finally:
            # This thread ends here: what its body opened is given back.
            connections.close_all()
            self.ended = True
            self._inbox.put(self._lane)

    def outcome(self) -> T:
        """What the body returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result[0]
