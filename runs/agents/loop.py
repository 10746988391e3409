"""One event loop for all agents of a process; a pump brings their blocking work back to the turn's thread."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runs.stops import Stalled, Suspend

log = logging.getLogger(__name__)

T = TypeVar("T")

BEAT = 0.5  # seconds between two signs of life of the loop
SILENT_TOO_LONG = 60.0  # seconds without one until the loop is given up
DRAIN = 10.0  # seconds that a cancelled coroutine has to end
CANCEL_AGAIN = 3.0  # seconds after which one that swallowed its cancellation gets another
# A coroutine that was just answered needs some rounds of the loop until it asks for its next piece of work.
ROUNDS_TO_BE_QUIET = 20


class Escaped(RuntimeError):
    """Code inside an agent tried to end the process; that is a failure like any other."""

    def __init__(self, escape: BaseException) -> None:
        super().__init__(f"the code tried to end the process ({type(escape).__name__}: {escape})")


class LoopThread:
    """An event loop on a thread of its own, with a sign of life that the turns watch."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.kept: dict[Any, Any] = {}  # what belongs to this loop, such as clients with open connections
        self._alive_at = time.monotonic()
        self._thread = threading.Thread(target=self._serve, name="agents-loop", daemon=True)
        self._thread.start()

    @property
    def silent_for(self) -> float:
        """Seconds since the loop last came round."""
        return time.monotonic() - self._alive_at

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._beat)
        while True:
            try:
                self.loop.run_forever()
                return
            except (SystemExit, KeyboardInterrupt):
                # asyncio lets these two through after failing the coroutine; every other turn lives here too.
                log.error("code inside an agent tried to end the process; the loop goes on")

    def _beat(self) -> None:
        self._alive_at = time.monotonic()
        self.loop.call_later(BEAT, self._beat)


_lock = threading.Lock()
_current: LoopThread | None = None


def _forget() -> None:
    """In a forked child: neither the parent's loop thread nor the state of its lock came along."""
    global _lock, _current
    _lock = threading.Lock()
    _current = None


os.register_at_fork(after_in_child=_forget)


def process_loop() -> LoopThread:
    """The loop of this process, made at the first call (so after any fork)."""
    global _current
    with _lock:
        if _current is None:
            _current = LoopThread()
        return _current


def _condemn(home: LoopThread) -> None:
    """Let the next turn have a new loop; a thread that hangs cannot be ended."""
    global _current
    with _lock:
        if _current is home:
            _current = None


@dataclass
class _Work:
    """One blocking call that the turn's thread makes on behalf of a coroutine."""

    call: Callable[[], Any]
    expected: tuple[type[BaseException], ...]
    answer: Future[Any] = field(default_factory=Future)
    foreign: bool = False  # code of a user's, not of the turn

    def run(self) -> None:
        """Make the call. An exception that is not expected comes out here, on the turn's thread."""
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            result = self.call()
        except StopIteration as error:  # a future cannot carry this one
            self._fail(RuntimeError(f"StopIteration out of a call: {error}"))
        except SystemExit as escape:
            if not self.foreign:
                raise
            self._fail(Escaped(escape))
        except self.expected as error:
            self._fail(error)
        else:
            self.answer.set_result(result)

    def _fail(self, error: BaseException) -> None:
        self.answer.set_exception(error)


@dataclass(frozen=True)
class _Quiet:
    """The loop's answer to 'is anything going on?', for the state of things numbered `at`."""

    at: int
    acts: int


_NUDGE = object()


def _get(waited_for: queue.SimpleQueue[Any], timeout: float) -> Any:
    return waited_for.get(timeout=timeout)


@dataclass(frozen=True)
class Waiting:
    """How the turn's thread waits for work, so that it can do something else meanwhile.

    `get` takes the queue and seconds and raises queue.Empty; `nudge` is called after each thing that is put,
    from any thread.
    """

    get: Callable[[queue.SimpleQueue[Any], float], Any] = _get
    nudge: Callable[[], None] = lambda: None


class Pump:
    """Carries blocking work from coroutines on the loop to the thread of the turn they belong to."""

    def __init__(self, home: LoopThread, silent_too_long: float, waiting: Waiting | None = None) -> None:
        self._home = home
        self._silent_too_long = silent_too_long
        self._waiting = waiting or Waiting()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._closed = False
        self._task: asyncio.Task[Any] | None = None
        self._acts = 0  # touched on the loop's thread alone
        self._count = 0  # touched on the turn's thread alone
        self.executor: Executor = _PumpExecutor(self)

    async def call(
        self, call: Callable[..., T], *arguments: Any, expected: tuple[type[Exception], ...] = ()
    ) -> T:
        """Make the call on the turn's thread. Only `expected` exceptions come back; any other ends it all."""
        work = _Work(lambda: call(*arguments), expected)
        self.put(work)
        result: T = await asyncio.wrap_future(work.answer)
        return result

    @contextmanager
    def act(self) -> Generator[None]:
        """Something is under way on the loop: a Suspend elsewhere waits until it is recorded."""
        self._acts += 1
        try:
            yield
        finally:
            self._acts -= 1
            self._enqueue(_NUDGE)

    def put(self, work: _Work) -> None:
        """Queue the work; once the turn is over it is cancelled at once."""
        if self._closed:
            work.answer.cancel()
        else:
            self._enqueue(work)

    def _enqueue(self, item: Any) -> None:
        self._queue.put(item)
        self._waiting.nudge()

    def run(self, main: Callable[[Pump], Awaitable[T]]) -> T:
        """Run the coroutine to its end, serving its calls on this thread."""
        done: Future[T] = asyncio.run_coroutine_threadsafe(self._guarded(main), self._home.loop)
        done.add_done_callback(lambda _: self._enqueue(_NUDGE))
        try:
            self._serve(done)
            return done.result()
        except CancelledError as error:
            raise RuntimeError("the agent's coroutine cancelled itself") from error
        finally:
            self._abandon(done)

    async def _guarded(self, main: Callable[[Pump], Awaitable[T]]) -> T:
        self._task = asyncio.current_task()
        if self._closed:
            raise asyncio.CancelledError
        try:
            return await main(self)
        except (SystemExit, KeyboardInterrupt) as escape:
            raise Escaped(escape) from escape

    def _serve(self, done: Future[Any]) -> None:
        suspend: Suspend | None = None
        while not (done.done() and self._queue.empty()):
            item = self._next()
            if isinstance(item, _Work):
                try:
                    item.run()
                except Suspend as stop:
                    # Siblings in the same answer were asked for too: let them get on record first.
                    suspend = suspend or stop
            if suspend is not None:
                if isinstance(item, _Quiet) and item == _Quiet(self._count, acts=0):
                    raise suspend
                if not isinstance(item, _Quiet):
                    self._ask_whether_quiet()
        if suspend is not None:
            raise suspend

    def _next(self) -> Any:
        """The next piece of work; raises Stalled when the loop has stopped coming round."""
        while True:
            try:
                return self._waiting.get(self._queue, min(BEAT, self._silent_too_long))
            except queue.Empty:
                if self._home.silent_for > self._silent_too_long:
                    _condemn(self._home)
                    silence = f"the event loop has been silent for {self._home.silent_for:.0f} s"
                    raise Stalled(silence) from None

    def _ask_whether_quiet(self) -> None:
        self._count += 1
        at = self._count
        self._home.loop.call_soon_threadsafe(self._come_round, at, ROUNDS_TO_BE_QUIET)

    def _come_round(self, at: int, rounds: int) -> None:
        if rounds:
            self._home.loop.call_soon(self._come_round, at, rounds - 1)
        else:
            self._enqueue(_Quiet(at, self._acts))

    def _abandon(self, done: Future[Any]) -> None:
        """Cancel what is left of the coroutine and wait for it, doing no more work for it."""
        self._closed = True
        until = time.monotonic() + DRAIN
        while not done.done():
            self._home.loop.call_soon_threadsafe(self._cancel)
            self._refuse_until(done, min(until, time.monotonic() + CANCEL_AGAIN))
            if time.monotonic() > until or self._home.silent_for > self._silent_too_long:
                log.error("an abandoned agent did not end within %.0f s", DRAIN)
                return

    def _refuse_until(self, done: Future[Any], moment: float) -> None:
        while not done.done() and (left := moment - time.monotonic()) > 0:
            with suppress(queue.Empty):
                item = self._waiting.get(self._queue, min(BEAT, left))
                if isinstance(item, _Work):
                    item.answer.cancel()

    def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()


class _PumpExecutor(Executor):
    """Runs the synchronous parts of a user's agent on the turn's thread, where its database work belongs."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        work = _Work(lambda: fn(*args, **kwargs), (Exception,), foreign=True)
        self._pump.put(work)
        return work.answer


def run_on_loop(
    main: Callable[[Pump], Awaitable[T]],
    *,
    silent_too_long: float = SILENT_TOO_LONG,
    waiting: Waiting | None = None,
) -> T:
    """Run a coroutine on the process's loop and serve its blocking calls on this thread until it ends.

    `waiting` says how this thread waits.

    Raises what the coroutine raises. What a pumped call raises and the coroutine did not expect (above all a
    Stop) comes out here too, once the coroutine is cancelled and drained. Raises Stalled when the loop hangs.
    """
    return Pump(process_loop(), silent_too_long, waiting).run(main)
