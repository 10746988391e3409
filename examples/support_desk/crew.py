"""The workers of a play: started, watched, and killed without warning when they are to be tried."""

from __future__ import annotations

import random
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from django.db.models import Q

from ops.launch.processes import wait_until
from ops.launch.workers import WorkerProcess
from runs.models import Run, Worker
from tools.models import ToolCall

THREADS = 8
ALONE = "worker-alone"
LIFE = (1.0, 6.0)  # seconds that a worker is left alive once it takes messages
AIMED = 0.75  # the share of kills that wait for a call in flight
AIM = 3.0  # seconds to wait for one


class Crew:
    """`size` worker processes for runs and agents, and one for runs that must be alone."""

    def __init__(self, size: int, env: Mapping[str, str], folder: Path) -> None:
        self._workers = [
            WorkerProcess(
                env, ["runs", "agents", "caretakers"], THREADS, name=f"worker-{number}", folder=folder
            )
            for number in range(1, size + 1)
        ]
        self._workers.append(WorkerProcess(env, ["tools"], 2, "prefork", name=ALONE, folder=folder))
        self.killed = 0
        self.killed_in_flight = 0

    def __enter__(self) -> Self:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.alive():
                worker.send(worker.stop_signal)
        for worker in self._workers:
            worker.stop()

    def kill_one(self) -> None:
        """Kill a worker with SIGKILL and start another in its place.

        Mostly one that is in the middle of a call, else any that takes messages, whatever it does just then.
        """
        ready = [worker for worker in self._workers if worker.ready()]
        if random.random() < AIMED:  # noqa: S311 - chaos needs no secrets
            wait_until(lambda: any(map(_in_flight, ready)), AIM, pause=0.01)
            ready = [worker for worker in ready if _in_flight(worker)] or ready
        if ready:
            self._kill(random.choice(ready))  # noqa: S311

    def _kill(self, worker: WorkerProcess) -> None:
        # The process alone: its children must notice by themselves, as after a crash.
        worker.send(signal.SIGKILL)
        self.killed += 1
        self.killed_in_flight += _in_flight(worker)
        worker.kill()
        worker.start()

    def look_after(self) -> None:
        """Start what has ended by itself."""
        for worker in self._workers:
            if not worker.alive():
                worker.kill()
                worker.start()

    def said(self, words: str) -> int:
        """How often the workers have written `words` into their logs."""
        logs = {worker.log for worker in self._workers}
        return sum(log.read_text(errors="replace").count(words) for log in logs if log.exists())


def _in_flight(worker: WorkerProcess) -> bool:
    """Whether the worker had a call begun and not ended; to be read before anybody takes its runs over."""
    mine = Q(pool="prefork") if worker.name == ALONE else Q(pid=worker.pid)
    owners = Worker.objects.filter(mine).values("id")
    runs = Run.objects.filter(lease_owner__in=owners).values("id")
    return ToolCall.objects.filter(run_id__in=runs, state="started").exists()
