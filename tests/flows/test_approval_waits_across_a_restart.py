"""A run that waits for a person is rows and nothing else: everything may stop and start meanwhile."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from ops.launch.broker import Broker
from runs.models import Run
from tests.flows.conftest import Crew, Decide, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until, act

pytestmark = pytest.mark.processes


def assert_held_by_nobody(run: Run) -> None:
    row = Run.objects.get(pk=run.pk)
    assert (row.state, row.lease_owner, row.lease_until) == ("waiting", "", None)
    assert "decision" in row.waiting_for.lower()


def test_a_decision_made_while_nothing_runs_is_carried_out_after_the_restart(
    crew: Crew, stage: Stage, until: Until, broker: Broker, bea: User, decide: Decide
) -> None:
    crew.start(1)
    run = stage.start(act("put", "a"), act("launch", "b"), act("look", "c"))
    until(lambda: stage.asks(run))
    assert_held_by_nobody(run)
    crew.kill_all()
    broker.kill()
    assert not any(worker.alive() for worker in crew.workers) and not broker.ready(), "the fault was there"
    assert_held_by_nobody(run)

    try:
        decision = decide(run, bea)
        assert state_of(run) == "queued", "the decision is on record, and nobody is there to act on it"
        assert not world.happened("launch b")
    finally:
        broker.start().wait_ready()
    crew.start(1)
    until(lambda: state_of(run) == "succeeded", 40)

    row = assert_whole(run)
    assert row.output == ["a", "b", "c"]
    flights = world.happened("launch b")
    assert [line["pid"] for line in flights] == [crew.workers[1].pid]
    assert decision.approval.__class__.objects.get(run=run).consumed_by_key == flights[0]["key"]
    assert len(world.happened("asked to put a")) == 1
    # Nobody was lost: the turn before the wait had ended, so nothing was taken over.
    assert (row.lease_epoch, stage.entries(run, "run.rescued")) == (2, [])


def test_a_run_that_sleeps_wakes_after_the_restart(
    crew: Crew, stage: Stage, until: Until, broker: Broker
) -> None:
    crew.start(1)
    run = stage.start(act("put", "a"), act("sleep", seconds=3), act("look", "b"))
    until(lambda: state_of(run) == "waiting")
    row = Run.objects.get(pk=run.pk)
    due = stage.step(run, "2").due_at
    assert (row.lease_owner, row.wake_at) == ("", due)
    crew.kill_all()
    broker.kill()
    broker.start().wait_ready()
    crew.start(1)
    until(lambda: state_of(run) == "succeeded", 40)
    assert_whole(run)
    looked = stage.step(run, "3")
    assert looked.started_at >= due
    assert len(world.happened("asked to put a")) == 1
