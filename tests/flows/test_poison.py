"""A run that kills whoever works on it: it is stopped for a person to look, and the others finish."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ops.launch.processes import NotReady
from runs.models import Run, Worker
from runs.services import MAX_CRASHES
from tests.flows.conftest import Crew, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until, act

pytestmark = pytest.mark.processes


def test_it_takes_no_other_run_with_it(crew: Crew, stage: Stage, until: Until) -> None:
    """With a worker for suspects: the first death proves nothing, each one alone does."""
    crew.start(2)
    crew.start(1, queues=("tools",), pool="prefork", threads=2)
    until(lambda: Worker.objects.filter(queues="tools").count() == 2)
    gate = stage.file("gate")
    neighbours = [stage.start(act("put", str(n), then=gate), act("look", str(n))) for n in range(4)]
    until(lambda: all(world.happened(f"put {n}") for n in range(4)))
    doomed = stage.start(act("look", "a"), act("poison"))
    until(lambda: world.happened("poison"))
    stage.let_go(gate)
    until(lambda: state_of(doomed) == "needs_attention", 90)
    until(lambda: Run.objects.filter(state="succeeded").count() == len(neighbours), 60)

    row = assert_whole(doomed)
    assert (row.attention["code"], row.crashes, row.lease_owner) == ("poison", MAX_CRASHES, "")
    deaths = world.happened("poison")
    assert len(deaths) == 1 + MAX_CRASHES, "one among others, then each time alone"
    assert len({line["pid"] for line in deaths}) == len(deaths)
    assert len({line["key"] for line in deaths}) == 1
    assert len(world.happened("look a")) == 1
    counted = [entry.content["crashes"] for entry in stage.entries(doomed, "run.rescued")]
    assert counted == list(range(MAX_CRASHES))
    for number, run in enumerate(neighbours):
        assert assert_whole(run).crashes == 0
        assert len(world.happened(f"put {number}")) == 1
    assert sum(worker.alive() for worker in crew.workers) == 2, "one of the workers of many threads died"


def test_it_is_stopped_where_no_worker_is_kept_for_suspects(crew: Crew, stage: Stage, until: Until) -> None:
    """Somebody starts the dead worker again each time, as a supervisor does. Here every death counts."""
    (worker,) = crew.start(1)
    doomed = stage.start(act("poison"))

    def looked_after() -> bool:
        if not worker.alive():
            with suppress(NotReady):  # it may meet the poison before it has said that it is ready
                worker.start().wait_ready(60)
        return state_of(doomed) == "needs_attention"

    until(looked_after, 90)
    after = stage.start(act("look", "b"), act("put", "c"))
    until(lambda: state_of(after) == "succeeded")
    assert len(world.happened("poison")) == MAX_CRASHES
    assert assert_whole(doomed).attention["code"] == "poison"
    assert assert_whole(after).output == ["b", "c"]
    assert len(world.happened("put c")) == 1


def test_the_runs_beside_it_are_told_from_it(crew: Crew, stage: Stage, until: Until) -> None:
    """All of them were there at the first two deaths; after that they come back one by one."""
    (worker,) = crew.start(1, threads=8)
    gate = stage.file("gate")
    neighbours = [stage.start(act("put", str(n), then=gate)) for n in range(4)]
    until(lambda: all(world.happened(f"put {n}") for n in range(4)))
    doomed = stage.start(act("poison"))

    def looked_after() -> bool:
        if not worker.alive():
            with suppress(NotReady):  # it may meet the poison before it has said that it is ready
                worker.start().wait_ready(60)
        if len(world.happened("poison")) >= MAX_CRASHES - 1:
            stage.let_go(gate)
        return state_of(doomed) == "needs_attention"

    until(looked_after, 120)
    until(lambda: Run.objects.filter(state="succeeded").count() == len(neighbours), 60)
    assert len(world.happened("poison")) == MAX_CRASHES
    for number, run in enumerate(neighbours):
        assert_whole(run)
        assert len(world.happened(f"put {number}")) == 1
