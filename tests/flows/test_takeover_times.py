"""How soon the next worker goes on: after a kill, after a stall, at a deploy, and when calls hang."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest
from django.db import transaction

from ops.launch.supervisor import Supervisor
from runs.crew.life import REPLACED
from runs.models import JournalEntry, Run, Worker
from runs.services import MAX_CRASHES
from tests.flows.conftest import Crew, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until, act

pytestmark = pytest.mark.processes
Record = Callable[[str, object], None]
#: The promises are 5 seconds for a worker and 2 for a child; on a machine that does much else, some more.
SLACK = 10


def rescued(run: Run) -> JournalEntry:
    entry = JournalEntry.objects.filter(run=run, kind="run.rescued").first()
    assert entry is not None
    return entry


def test_a_killed_worker_loses_its_runs_within_seconds(
    crew: Crew, stage: Stage, until: Until, record_property: Record
) -> None:
    crew.start(2)
    gate = stage.file("gate")
    runs = [stage.start(act("look", str(n), then=gate)) for n in range(4)]
    until(lambda: all(world.happened(f"look {n}") for n in range(4)))
    doomed = crew.holder(runs[0])
    pid = doomed.pid
    its = [run for run in runs if crew.holder(run) is doomed]
    killed = time.time()
    doomed.kill()
    until(lambda: all(len(world.happened(f"look {runs.index(run)}")) == 2 for run in its), 20)
    stage.let_go(gate)
    again = [world.happened(f"look {runs.index(run)}")[1] for run in its]
    assert all(line["pid"] != pid for line in again)
    for line in again:
        record_property("seconds from kill -9 of a worker until its call is made again", line["at"] - killed)
        assert line["at"] - killed < 5 + SLACK
    until(lambda: not Run.objects.exclude(state="succeeded").exists())
    for run in runs:
        assert assert_whole(run).crashes == 0


def test_one_that_only_looks_late_keeps_its_runs_until_its_lease_is_over(
    crew: Crew, stage: Stage, until: Until, short_leases: None
) -> None:
    crew.start(2)
    gate = stage.file("gate")
    run = stage.start(act("look", "a", then=gate))
    until(lambda: world.happened("look a"))
    lease_until = Run.objects.get(pk=run.pk).lease_until
    stalled = crew.holder(run)
    with transaction.atomic():
        stalled.send(signal.SIGSTOP)
    until(lambda: stage.entries(run, "run.rescued"), 30)
    assert lease_until is not None and rescued(run).recorded_at >= lease_until
    assert rescued(run).content["reason"] == "its lease ran out"
    stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")


def test_a_process_that_dies_before_it_wrote_anything_counts(crew: Crew, stage: Stage, until: Until) -> None:
    """Between the claim and the first commit there is nothing on record but the claim: that is enough."""
    crew.start(1, queues=("runs", "tools", "caretakers"), pool="prefork", threads=2)
    doomed = stage.start(act("die", "a"))
    until(lambda: state_of(doomed) == "needs_attention", 60)
    row = assert_whole(doomed)
    assert (row.attention["code"], row.crashes) == ("poison", MAX_CRASHES)
    assert not row.steps.exists()
    assert len(world.happened("die a")) == MAX_CRASHES + 1, "one beside others, then each time alone"


def test_rolling_deploys_wait_for_no_lease_and_repeat_no_effect(
    crew: Crew, stage: Stage, until: Until, record_property: Record
) -> None:
    """Workers end one after the other while all of them have calls in hand."""
    crew.start(3)
    gates = [stage.file("one"), stage.file("two")]
    acts = [
        [act("put", f"{n} {place}"), act("look", f"{n} {gate}", then=gate), act("now")]
        for n in range(6)
        for place, gate in enumerate(gates)
    ]
    runs = [stage.start(*acts[2 * n], *acts[2 * n + 1], act("put", f"{n} last")) for n in range(6)]
    for gate in gates:
        until(lambda gate=gate: all(world.happened(f"look {n} {gate}") for n in range(6)))
        ending = crew.holder(runs[0])
        asked = time.time()
        ending.send(signal.SIGTERM)
        until(lambda ending=ending: crew_is_leaving(ending.pid))
        stage.let_go(gate)
        until(lambda ending=ending: not ending.alive(), 30, "it does not end")
        assert ending.exit_code == 0
        record_property("seconds from SIGTERM to the end of a worker", time.time() - asked)
    until(lambda: not Run.objects.exclude(state="succeeded").exists(), 60)
    handed = JournalEntry.objects.filter(kind="run.handed_over").count()
    record_property("runs handed over", handed)
    assert handed >= 2, "each worker was in the middle of something"
    assert not JournalEntry.objects.filter(kind="run.rescued").exists(), "nobody waited for a lease"
    for run in runs:
        assert assert_whole(run).crashes == 0
    effects = [line["key"] for line in world.happened() if line["key"]]
    assert len(set(effects)) == 3 * len(runs)
    assert len(effects) == 2 * len(set(effects)), "asked once and done once, each of them"
    looks = [line["what"] for line in world.happened() if line["what"].startswith("look")]
    assert len(looks) == len(set(looks)) == 2 * len(runs), "what was in hand was kept"


def crew_is_leaving(pid: int) -> bool:
    return Worker.objects.filter(pid=pid).exclude(draining_at=None).exists()


def test_a_worker_with_a_call_that_hangs_is_replaced_and_the_others_end_first(
    crew: Crew, stage: Stage, until: Until, short_leases: None, record_property: Record
) -> None:
    (worker,) = crew.start(1, threads=2)
    never, later = stage.file("never"), stage.file("later")
    hung = stage.start(act("hang", "a", then=never))
    beside = stage.start(act("plod", "b", then=later), act("look", "c"))
    until(lambda: world.happened("hang a") and world.happened("plod b"))
    mine = crew.row(worker)
    behind = [stage.start(act("look", f"behind {n}")) for n in range(6)]
    until(lambda: crew_is_leaving(worker.pid), 30, "nobody noticed that it hangs")

    asked = time.time()
    crew.start(1)
    until(lambda: all(state_of(run) == "succeeded" for run in [hung, *behind]), 60)
    record_property("runs behind the one that hangs", len(behind))
    taken = {line["pid"] for line in world.happened() if line["what"].startswith("look behind")}
    assert taken == {crew.workers[1].pid}, "it took nothing new"
    assert [line["pid"] for line in world.happened("hang a")] == [worker.pid, crew.workers[1].pid]
    assert rescued(hung).content["worker"] == mine.pk
    assert worker.alive() and not stage.entries(beside, "call.succeeded"), "it waits for the call beside"

    stage.let_go(later)
    until(lambda: not worker.alive(), 30, "it does not end")
    assert worker.exit_code == REPLACED
    record_property("seconds from the drain to the end, with a call beside", time.time() - asked)
    until(lambda: state_of(beside) == "succeeded")
    (end,) = [entry for entry in stage.entries(beside, "call.succeeded") if "Plod" in entry.sentence]
    assert end.actor == f"worker:{mine.pk}", "what it had in hand was recorded by itself"
    gone = crew.row(worker).stopped_at
    assert gone is not None and end.recorded_at < gone
    assert [len(world.happened(what)) for what in ("plod b", "look c")] == [1, 1]
    assert (assert_whole(beside).crashes, len(stage.entries(beside, "run.rescued"))) == (0, 0)
    assert assert_whole(hung).output == ["a"]


def test_the_launcher_starts_another_for_one_that_is_replaced(
    crew: Crew, stage: Stage, until: Until, short_leases: None
) -> None:
    """The hung call is done again by the replacement: nobody else is there."""
    (worker,) = crew.make(1, threads=1)
    said: list[str] = []
    with Supervisor(said.append).running() as launcher:
        launcher.start(worker)
        worker.wait_ready(60)
        hung = stage.start(act("hang", "a", then=stage.file("never")))
        began = time.monotonic()
        launcher.watch(until=lambda: state_of(hung) == "succeeded" or time.monotonic() - began > 60)
        assert worker.alive()
    (sentence,) = said
    assert sentence.startswith(f"{worker.name} ended with code {REPLACED}, starts again in 0.5 s")
    assert assert_whole(hung).output == ["a"]
    pids = [line["pid"] for line in world.happened("hang a")]
    assert len(pids) == len(set(pids)) == 2
