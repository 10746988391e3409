"""Side by side, children, races and restarts, while workers are killed at any moment."""

from __future__ import annotations

from collections import Counter

import pytest

from ops.launch.workers import WorkerProcess
from runs import services
from runs.models import Run, Step, Worker
from runs.states import RUN_ENDED
from tests.flows.conftest import Crew, Stage, assert_whole
from tests.flows.promises import world
from tests.flows.story import Until
from tools.models import ToolCall

pytestmark = pytest.mark.processes

HOUSEHOLDS = 4
KILLS = 2
#: Each household: itself and what it restarts as, with three walks each.
RUNS_EACH = 8


def test_families_end_whole_while_workers_are_killed(crew: Crew, stage: Stage, until: Until) -> None:
    for _ in range(KILLS + 1):
        crew.start(1)
    in_hand: list[int] = []
    dead: list[WorkerProcess] = []
    names = [f"house-{number}" for number in range(HOUSEHOLDS)]
    firsts = [services.start_run("promises.household", {"name": n}, actor="user:ana") for n in names]
    for kill in range(KILLS):
        until(lambda kill=kill: len(world.happened()) >= (kill + 1) * 8 or all_ended(), 60)
        rows = Run.objects.filter(state="running").exclude(lease_owner="")
        pids = dict(Worker.objects.values_list("pk", "pid"))
        alive = {worker.pid: worker for worker in crew.workers if worker not in dead}
        holders = [alive[pids[row.lease_owner]] for row in rows if pids.get(row.lease_owner) in alive]
        doomed = holders[0] if holders else crew.workers[len(dead)]
        in_hand.append(holders.count(doomed))
        doomed.kill()
        dead.append(doomed)
    until(all_ended, 120, "they came to no end")
    rows = [assert_whole(row) for row in Run.objects.all()]
    assert len(rows) == HOUSEHOLDS * RUNS_EACH
    assert {row.state for row in rows} == {"succeeded"}
    for first in firsts:
        first.refresh_from_db()
        assert Run.objects.get(pk=first.continued_by).output[-1] == "1", "the put came first"
    puts = Counter(line["what"] for line in world.happened() if line["what"].startswith("put "))
    walks = [row.pk for row in rows if row.workflow == "promises.walk"]
    wanted = [f"put {n}{again} {x}" for n in names for again in ("", " again") for x in "abcd"]
    assert puts == Counter(wanted + [f"put {walk}" for walk in walks])
    assert not Step.objects.filter(state__in=["started", "waiting", "unknown"]).exists()
    assert not ToolCall.objects.filter(state__in=["started", "unknown"]).exists()
    assert services.untold(10) == [] and services.given_up(10) == []
    rescued = sum(len(stage.entries(row, "run.rescued")) for row in rows)
    assert rescued >= 1 and sum(in_hand) >= 2, f"the faults were there: {in_hand}"


def all_ended() -> bool:
    """Whether there is nothing left to do, and everybody was told."""
    there = Run.objects.count() == HOUSEHOLDS * RUNS_EACH
    return there and not Run.objects.exclude(state__in=RUN_ENDED).exists() and not services.untold(1)
