"""A worker is killed in the middle; another one goes on, and nothing on record is done again."""

from __future__ import annotations

import pytest

from runs.models import Run
from runs.steps.proposal import idempotency_key
from tests.flows.conftest import Crew, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until, act
from tools.models import ToolCall

pytestmark = pytest.mark.processes


def kill_its_worker(crew: Crew, stage: Stage, run: Run, until: Until) -> Run:
    """SIGKILL the worker that has the run; the run as the other one took it up."""
    doomed = crew.holder(run)
    before = Run.objects.get(pk=run.pk)
    doomed.kill()
    until(lambda: stage.entries(run, "run.rescued"), 20, "nobody took the run up")
    (rescue,) = stage.entries(run, "run.rescued")
    assert rescue.content["worker"] == before.lease_owner
    assert rescue.content["epoch"] == before.lease_epoch == 1
    assert rescue.content["crashes"] == 1
    assert str(doomed.pid) in rescue.sentence and "gone" in rescue.sentence
    return before


def ended(run: Run, before: Run) -> Run:
    """The run at its end: by another worker, under a later claim, with its journal whole."""
    row = assert_whole(run)
    claims = row.history.filter(state="running").order_by("history_date")
    assert row.lease_epoch == 2 == claims.count()
    assert len({claim.actor for claim in claims}) == 2, "the same worker went on"
    assert (row.lease_owner, row.crashes) == ("", 0)
    assert row.lease_epoch > before.lease_epoch
    return row


def test_a_read_in_flight_is_done_again_and_nothing_before_it(crew: Crew, stage: Stage, until: Until) -> None:
    crew.start(2)
    gate = stage.file("gate")
    run = stage.start(act("look", "a"), act("put", "b"), act("look", "c", then=gate), act("look", "d"))
    until(lambda: world.happened("look c"))
    before = kill_its_worker(crew, stage, run, until)
    stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")
    row = ended(run, before)
    assert row.output == ["a", "b", "c", "d"]
    assert [len(world.happened(what)) for what in ("look a", "put b", "look c", "look d")] == [1, 1, 2, 1]
    assert len({line["pid"] for line in world.happened("look c")}) == 2, "the fault was there"
    read = stage.step(run, "3")
    assert (read.attempt, read.epoch, stage.step(run, "1").epoch) == (2, 2, 1)
    states = (
        ToolCall.objects.filter(step_id=read.id).order_by("attempt").values_list("state", "failure_class")
    )
    assert list(states) == [("failed", "transient"), ("succeeded", "")]


@pytest.mark.parametrize("moment", ["before its effect", "after its effect"])
def test_a_write_in_flight_keeps_its_key_and_happens_once(
    crew: Crew, stage: Stage, until: Until, moment: str
) -> None:
    crew.start(2)
    gate = stage.file("gate")
    early = moment == "before its effect"
    held = act("put", "b", first=gate) if early else act("put", "b", then=gate)
    run = stage.start(act("look", "a"), held, act("look", "c"))
    until(lambda: world.happened("asked to put b" if early else "put b"))
    before = kill_its_worker(crew, stage, run, until)
    stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")
    ended(run, before)
    asked, effects = world.happened("asked to put b"), world.happened("put b")
    assert len({line["pid"] for line in asked}) == len(asked) == 2, "the fault was there"
    assert len(effects) == 1
    assert {line["key"] for line in asked} == {idempotency_key(run.pk, "2")}
    calls = ToolCall.objects.filter(step_id=stage.step(run, "2").id).order_by("attempt")
    assert [(call.attempt, call.state) for call in calls] == [(1, "failed"), (2, "succeeded")]
    assert {call.key for call in calls} == {effects[0]["key"]}
    assert len(world.happened("look a")) == 1


def test_between_two_steps_only_workflow_code_runs_again(crew: Crew, stage: Stage, until: Until) -> None:
    crew.start(2)
    gate = stage.file("gate")
    plan = (act("random"), act("look", "a"), act("put", "b"), act("think", "c", then=gate), act("look", "d"))
    run = stage.start(*plan)
    until(lambda: world.happened("think c"))
    drawn = stage.step(run, "1").result
    before = kill_its_worker(crew, stage, run, until)
    stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")
    row = ended(run, before)
    assert row.output == [str(drawn), "a", "b", "c", "d"]
    assert len(world.happened("think c")) == 2, "the fault was there"
    assert [len(world.happened(what)) for what in ("look a", "asked to put b", "put b", "look d")] == [1] * 4
    assert [step.attempt for step in row.steps.all()] == [1] * 4


def test_a_run_outlives_one_worker_after_another(crew: Crew, stage: Stage, until: Until) -> None:
    """Two deaths at two steps: progress in between, so neither counts against the run."""
    crew.start(3)
    one, two = stage.file("one"), stage.file("two")
    run = stage.start(act("put", "a", then=one), act("put", "b", then=two), act("put", "c"))
    for name, gate in (("a", one), ("b", two)):
        until(lambda name=name: world.happened(f"put {name}"))
        crew.holder(run).kill()
        stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")
    row = assert_whole(run)
    assert [len(world.happened(f"put {name}")) for name in "abc"] == [1, 1, 1]
    assert [entry.content["crashes"] for entry in stage.entries(run, "run.rescued")] == [1, 1]
    assert (row.lease_epoch, row.crashes) == (3, 0)
