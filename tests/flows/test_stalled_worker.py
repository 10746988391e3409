"""A worker stalls past its lease and wakes up: another one has taken over, and nothing it says counts."""

from __future__ import annotations

import signal

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from ops.launch.workers import WorkerProcess
from runs.models import Run
from tests.flows.conftest import Crew, Decide, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until, act
from tests.record import Rows, everything
from tools.models import Inquiry

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("short_leases")]


def stall(worker: WorkerProcess) -> None:
    """SIGSTOP, at a moment when it holds no lock of a SQLite database."""
    with transaction.atomic():
        worker.send(signal.SIGSTOP)


def taken_over(crew: Crew, stage: Stage, run: Run, until: Until) -> WorkerProcess:
    """Stall the worker that has the run, until another has it; the one that is stalled."""
    stalled = crew.holder(run)
    stall(stalled)
    until(lambda: stage.entries(run, "run.rescued"), 30)
    (rescue,) = stage.entries(run, "run.rescued")
    assert rescue.sentence.endswith("its lease ran out"), "it lives, and nobody took its word for gone"
    assert stalled.alive()
    return stalled


def assert_fenced(crew: Crew, stalled: WorkerProcess, until: Until) -> None:
    """Let it wake up: its late result is refused, and not one row changes."""
    before = all_but_inquiries()
    assert crew.said("turn given up") == 0
    stalled.send(signal.SIGCONT)
    until(lambda: crew.said("turn given up") == 1, 20, "the fence refused nothing")
    assert crew.said("has another owner since epoch") == 1
    assert all_but_inquiries() == before
    assert stalled.alive(), "the process itself serves on"


def all_but_inquiries() -> Rows:
    """Every row but those in which caretakers note, in their own time, what lookups said."""
    return {table: rows for table, rows in everything().items() if table != Inquiry._meta.db_table}


def test_the_late_result_of_a_read_is_refused(crew: Crew, stage: Stage, until: Until) -> None:
    crew.start(2)
    gate = stage.file("gate")
    run = stage.start(act("look", "a"), act("look", "b", then=gate), act("put", "c"))
    until(lambda: world.happened("look b"))
    stalled = taken_over(crew, stage, run, until)
    stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")
    assert_fenced(crew, stalled, until)
    row = assert_whole(run)
    assert (row.output, row.lease_epoch) == (["a", "b", "c"], 2)
    assert [len(world.happened(what)) for what in ("look a", "look b", "put c")] == [1, 2, 1]
    assert stage.step(run, "2").epoch == 2


@pytest.mark.parametrize("moment", ["before its effect", "after its effect"])
def test_the_late_result_of_a_write_is_refused_and_the_world_saw_one_effect(
    crew: Crew, stage: Stage, until: Until, moment: str
) -> None:
    crew.start(2)
    gate = stage.file("gate")
    early = moment == "before its effect"
    held = act("put", "b", first=gate) if early else act("put", "b", then=gate)
    run = stage.start(held, act("look", "c"))
    until(lambda: world.happened("asked to put b" if early else "put b"))
    quiet = stage.step(run, "1").not_before
    stalled = taken_over(crew, stage, run, until)
    stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")
    assert_fenced(crew, stalled, until)
    row = assert_whole(run)
    assert row.output == ["b", "c"]
    asked = world.happened("asked to put b")
    assert len({line["pid"] for line in asked}) == len(asked) == 2
    assert len({line["key"] for line in asked}) == 1
    assert len(world.happened("put b")) == 1
    again = stage.entries(run, "call.started")[1]
    assert again.recorded_at >= quiet, "not sent again while the first could still arrive"


def test_what_cannot_be_undone_is_not_sent_a_second_time_by_whoever_takes_over(
    crew: Crew, stage: Stage, until: Until, bea: User, decide: Decide
) -> None:
    """The fence protects rows, not the world: the late launch flies, once, and the record says unknown."""
    crew.start(2)
    gate = stage.file("gate")
    run = stage.start(act("launch", "b", first=gate))
    until(lambda: stage.asks(run))
    decide(run, bea)
    until(lambda: world.happened("asked to launch b"))
    stalled = taken_over(crew, stage, run, until)
    until(lambda: state_of(run) == "needs_attention", 30)
    stage.let_go(gate)
    assert_fenced(crew, stalled, until)
    assert (len(world.happened("asked to launch b")), len(world.happened("launch b"))) == (1, 1)
    assert (assert_whole(run).state, stage.step(run, "1").state) == ("needs_attention", "unknown")
