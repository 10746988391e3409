"""The measures: real workers in processes of their own, asked as an application asks them."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

from django.db import connection

from approvals.models import Approval
from benchmarks.crew import Crew, approve, inputs_of, workflow_of
from benchmarks.measure import Measured, forget_marks, marks, measured, say, wait_until
from benchmarks.storage import bytes_by_table, counting, transactions
from benchmarks.workload import tools
from runs import engine, services, timers
from runs.models import Run, Step

if TYPE_CHECKING:
    from django.contrib.auth.models import User

STEPS = 10


@dataclass(frozen=True)
class Size:
    """How much work each measure is given."""

    rounds: int = 3
    runs: int = 200
    alone: int = 30
    decisions: int = 40
    killed: int = 100
    waiting: int = 500
    overlapping: int = 100
    timers: int = 10_000
    long: int = 5_000


QUICK = Size(
    rounds=1, runs=10, alone=3, decisions=3, killed=10, waiting=20, overlapping=10, timers=50, long=40
)


@dataclass
class Bench:
    """The workers, the person who decides, and how much there is to do."""

    crew: Crew
    reviewer: User
    size: Size
    made: int = 0

    def start(self, kind: str, count: int) -> list[str]:
        """The ids of so many runs of that kind, started together."""
        values = []
        for _ in range(count):
            self.made += 1
            values.append(inputs_of(kind, f"{kind}-{self.made}"))
        return [run.pk for run in services.start_runs(workflow_of(kind), values, actor="user:ana")]

    def wait_for(self, ids: Sequence[str], state: str, what: str, every: float = 0.01) -> None:
        """Until all of them are in `state`."""
        rows = Run.objects.filter(pk__in=ids, state=state)
        wait_until(lambda: rows.count() == len(ids), what, every)

    def warm_up(self) -> None:
        """Every process has read its rules and prepared its statements."""
        self.wait_for(self.start("seq", 20), "succeeded", "warming up")


def steps(bench: Bench) -> Iterator[Measured]:
    """Steps a second, of runs that are all started at once."""
    taken = []
    for _ in range(bench.size.rounds):
        began = time.monotonic()
        bench.wait_for(bench.start("seq", bench.size.runs), "succeeded", "steps")
        taken.append(bench.size.runs * STEPS / (time.monotonic() - began))
    yield measured("steps", "steps/s", taken)


def latency(bench: Bench) -> Iterator[Measured]:
    """One run of ten steps while nothing else is to be done: from asking to its end on record."""
    taken = []
    for _ in range(bench.size.alone):
        bench.made += 1
        began = time.monotonic()
        value = inputs_of("seq", f"alone-{bench.made}")
        run = services.start_run(workflow_of("seq"), value, actor="user:ana")
        bench.wait_for([run.pk], "succeeded", "latency", every=0.001)
        taken.append((time.monotonic() - began) * 1000)
        time.sleep(0.02)
    yield measured("latency", "ms", taken)


def resume(bench: Bench) -> Iterator[Measured]:
    """From a person's yes to the end of the run that waited for it."""
    ids = bench.start("approve", bench.size.decisions)
    _wait_for_requests(bench, ids)
    taken = []
    for run_id in ids:
        began = time.monotonic()
        approve(run_id, bench.reviewer)
        bench.wait_for([run_id], "succeeded", "resume", every=0.001)
        taken.append((time.monotonic() - began) * 1000)
        time.sleep(0.02)
    yield measured("resume", "ms", taken)
    late = sorted(taken)[min(len(taken) - 1, int(len(taken) * 0.9))]
    yield measured("resume, nine of ten within", "ms", [late])


def recovery(bench: Bench) -> Iterator[Measured]:
    """All workers killed in the middle: from starting new ones to the last run's end."""
    taken, twice, lost = [], [], []
    for _ in range(bench.size.rounds):
        forget_marks()
        ids = bench.start("slow", bench.size.killed)
        bodies = bench.size.killed * STEPS
        wait_until(partial(_has_run, 0.4 * bodies), "recovery, before the kill", 0.002)
        bench.crew.kill()
        began = time.monotonic()
        bench.crew.start()
        bench.wait_for(ids, "succeeded", "recovery")
        taken.append(time.monotonic() - began)
        ran = Counter((name, step) for name, step, _ in marks())
        twice.append(float(sum(ran.values()) - len(ran)))
        lost.append(float(bodies - len(ran)))
    yield measured("recovery", "s", taken)
    yield measured("bodies run twice", "bodies", twice)
    yield measured("bodies lost", "bodies", lost)


def start_of_workers(bench: Bench) -> Iterator[Measured]:
    """New workers, all started at the same time, after the others were killed: until the last takes work."""
    taken = []
    for _ in range(bench.size.rounds):
        bench.crew.kill()
        began = time.monotonic()
        bench.crew.start()
        taken.append(time.monotonic() - began)
    yield measured("start of workers", "s", taken)


def _has_run(bodies: float) -> bool:
    return len(marks()) >= bodies


def overlap(bench: Bench) -> Iterator[Measured]:
    """How many steps of 50 ms are under way at a time, on average."""
    taken = []
    for _ in range(bench.size.rounds):
        began = time.monotonic()
        bench.wait_for(bench.start("io", bench.size.overlapping), "succeeded", "overlap")
        taken.append(bench.size.overlapping * STEPS * 0.05 / (time.monotonic() - began))
    yield measured("overlap", "steps at once", taken)


def waiting(bench: Bench) -> Iterator[Measured]:
    """What a run that waits for a person takes: bytes of its rows and their indexes."""
    before = bytes_by_table()
    ids = bench.start("approve", bench.size.waiting)
    _wait_for_requests(bench, ids)
    grown = {table: size - before.get(table, 0) for table, size in bytes_by_table().items()}
    yield measured("waiting run", "bytes", [sum(grown.values()) / len(ids)])
    for table, size in sorted(grown.items(), key=lambda pair: -pair[1]):
        if size > 0:
            yield measured(f"waiting run: {table}", "bytes", [size / len(ids)])


def statements(bench: Bench) -> Iterator[Measured]:
    """What the database is asked to do for one step, as it counts itself."""
    with counting(bench.crew) as count:
        bench.warm_up()
        before, written = count(), transactions()
        done = bench.size.runs * STEPS
        bench.wait_for(bench.start("seq", bench.size.runs), "succeeded", "statements", every=0.5)
        yield measured("statements", "a step", [(count() - before) / done])
        yield measured("writing transactions", "a step", [(transactions() - written) / done])


def due_timers(bench: Bench) -> Iterator[Measured]:
    """Runs whose time comes at the same moment, woken by this process alone."""
    bench.crew.stop()
    values = [{"seconds": 86_400.0}] * bench.size.timers
    ids = [run.pk for run in services.start_runs("bench.pause", values, actor="user:ana")]
    for number, run_id in enumerate(ids):
        engine.advance(run_id, "wrk_bench")
        if number % 1000 == 999:
            say(f"  timers: {number + 1} are set")
    past = Run.objects.get(pk=ids[0]).created_at
    Step.objects.filter(run_id__in=ids, state="waiting").update(due_at=past)
    Run.objects.filter(pk__in=ids).update(wake_at=past)
    before = _memory()
    began, woken = time.monotonic(), 0
    while found := timers.wake_due_runs():
        woken += found
        say(f"  timers: {woken} woken") if woken % 2000 < found else None
    took = time.monotonic() - began
    yield measured("due timers", "timers/s", [woken / took])
    yield measured("due timers left or told twice", "timers", [float(abs(len(ids) - woken))])
    yield measured("due timers, memory before", "KiB", [before])
    yield measured("due timers, most memory", "KiB", [_memory()])
    bench.crew.start()


def _memory() -> float:
    """The most memory that this process has had so far, in KiB."""
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def long_run(bench: Bench) -> Iterator[Measured]:
    """A run of many steps, in this process: processor time of early and late steps, and of taking it up."""
    bench.crew.stop()
    for steps in (bench.size.long // 5, bench.size.long):
        say(f"  long run: {steps} steps …")
        run = services.start_run("bench.walk", {"name": "long", "steps": steps}, actor="user:ana")
        spent: list[float] = []
        with patch.object(tools, "mark", partial(_note_time, spent)):
            engine.advance(run.pk, "wrk_bench")
        yield from _costs(spent) if steps == bench.size.long else ()
        # As after a kill right before the end was written.
        Run.objects.filter(pk=run.pk).update(state="queued")
        began = time.process_time()
        engine.advance(run.pk, "wrk_bench")
        yield measured(f"resuming after {steps} steps", "ms", [(time.process_time() - began) * 1000])
    bench.crew.start()


def _note_time(spent: list[float], name: str, step: int) -> None:
    spent.append(time.process_time() * 1000)


def _costs(spent: Sequence[float]) -> Iterator[Measured]:
    """Processor time of a step, by the tenth of the run in which it was; all but the first count."""
    tenth = max(1, len(spent) // 10)
    places = {"second": tenth, "middle": len(spent) // 2 - tenth // 2, "last": len(spent) - 1 - tenth}
    cost = {place: (spent[at + tenth] - spent[at]) / tenth for place, at in places.items()}
    for place, milliseconds in cost.items():
        yield measured(f"long run, a step of the {place} tenth", "ms", [milliseconds])
    yield measured("long run, last tenth to second", "times", [cost["last"] / cost["second"]])


def _wait_for_requests(bench: Bench, ids: Sequence[str]) -> None:
    asked = Approval.objects.filter(run_id__in=ids, state="pending")
    wait_until(lambda: asked.count() == len(ids), "waiting for requests", 0.05)
    bench.wait_for(ids, "waiting", "runs that wait")


MEASURES: dict[str, Callable[[Bench], Iterator[Measured]]] = {
    "steps": steps,
    "latency": latency,
    "resume": resume,
    "recovery": recovery,
    "start": start_of_workers,
    "overlap": overlap,
    "waiting": waiting,
    "statements": statements,
    "timers": due_timers,
    "long": long_run,
}


def vendor() -> str:
    """The database that is measured."""
    return "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"
