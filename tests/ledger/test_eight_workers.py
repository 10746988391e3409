"""Eight workers at once want the same runs, and each call's first worker is killed while it is in flight."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess

import pytest
from django.contrib.auth.models import User
from django.db import connection

from runs import engine, timers
from runs.models import JournalEntry
from runs.models import Run as RunRow
from tests.ledger.client import LINE
from tests.ledger.judge import Ledger
from tests.ledger.play import Play, judge
from tests.runs.test_every_commit_of_each_kind import decide, open_runs, take_over, time_passes
from tools import services as calls

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
WORKERS = 8
#: What each tool is asked for, and how it ends when the worker of the first request is gone.
ASKED = {
    "ok": "done",
    "500-before ok": "done",
    "500-after ok": "done",
    "drop 500-after ok": "done",
    "refused": "refused",
}
TOOLS = ("read", "write", "write_seen", "launch", "launch_seen")
PATIENCE = 120


def work(busy: multiprocessing.sharedctypes.Synchronized[int]) -> None:
    """Take whatever is there, as all the others do, until nothing is left."""
    LINE.dies = True
    while open_runs().exists():
        for row in open_runs():
            if row.lease_owner and is_dead(row.lease_owner):
                take_over(row)
            taken = engine.advance(row.pk, f"wrk_{os.getpid()}") is not engine.Outcome.NOT_READY
            if row.state == "queued" and not taken:
                with busy.get_lock():
                    busy.value += 1
    connection.close()
    os._exit(0)


def is_dead(owner: str) -> bool:
    """Whether the process is gone for certain: ended, and its end seen by whoever started it."""
    try:
        os.kill(int(owner.removeprefix("wrk_")), 0)
    except ProcessLookupError:
        return True
    return False


class Crew:
    """Eight processes; one that was killed is replaced."""

    def __init__(self) -> None:
        self.busy = multiprocessing.get_context("fork").Value("i", 0)
        self.deaths = 0
        self._processes: list[BaseProcess] = []

    def keep_up(self) -> None:
        """Bury the dead, and start others in their place."""
        for process in [one for one in self._processes if not one.is_alive()]:
            self._processes.remove(process)
            assert process.exitcode in (0, -signal.SIGKILL)
            self.deaths += process.exitcode != 0
        while len(self._processes) < WORKERS:
            connection.close()
            one = multiprocessing.get_context("fork").Process(target=work, args=(self.busy,), daemon=True)
            one.start()
            self._processes.append(one)

    def end(self) -> None:
        """Nobody is left behind."""
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


def test_each_call_ends_by_its_route_though_its_first_worker_was_killed(
    trading: Ledger, bea: User, record_property: Callable[[str, object], None]
) -> None:
    plays = {Play(tool, plan, "eight", trading, bea): end for plan, end in ASKED.items() for tool in TOOLS}
    crew, until = Crew(), time.monotonic() + PATIENCE
    try:
        while open_runs().exists() and time.monotonic() < until:
            crew.keep_up()
            time_passes()
            timers.wake_due_runs()
            decide(bea)
            for play in plays:
                with suppress(calls.SettlementRefused):  # too early: asked again in the next round
                    play.settle()
    finally:
        crew.end()
    left = Counter(RunRow.objects.values_list("state", flat=True))
    assert left == {"succeeded": len(plays)}, left
    for play, end in plays.items():
        judge(play)
        assert play.outcome().partition(" ")[0] == end, play.case
    killed = [line for line in trading.lines("killed") if line["case"].endswith("eight")]
    takeovers = JournalEntry.objects.filter(kind="run.rescued").count()
    record_property("deaths", len(killed))
    record_property("takeovers", takeovers)
    record_property("claims that came too late", crew.busy.value)
    assert len(killed) == crew.deaths == takeovers == len(plays), "the fault was there"
    assert crew.busy.value > 0, "they wanted the same runs"
