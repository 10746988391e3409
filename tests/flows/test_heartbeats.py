"""A worker whose heartbeat is not taken: it starts no effect, and who lost its lock loses its runs at once.

The worker signs in with a role of its own, which is then refused, or its heartbeat's session is stopped.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import connection

from ops.launch.workers import WorkerProcess
from runs import services
from runs.clock import db_now
from runs.crew import workers
from runs.models import Run, Step
from tests.conftest import database_url
from tests.flows.conftest import Crew, Stage, assert_whole, state_of
from tests.flows.promises import workflows, world
from tests.flows.story import Until, act

pytestmark = [pytest.mark.processes, pytest.mark.postgres]
Record = Callable[[str, object], None]
#: The promise is 5 seconds; on a machine that does much else, some more.
SLACK = 10
ROLE = "holdpoint_cut_off"
UNHEARD = timedelta(seconds=workers.UNHEARD + 1)


class Line:
    """The connections of one worker to the database."""

    url: str

    def __init__(self) -> None:
        owner = connection.settings_dict["USER"]
        self._do(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'x' IN ROLE {connection.ops.quote_name(owner)}")
        self.url = database_url().replace(f"://{owner}", f"://{ROLE}:x", 1)

    def cut(self) -> None:
        """Its lock's session ends, and no other connection is made; those that are open stay."""
        self._do(f"ALTER ROLE {ROLE} NOLOGIN")
        for pid in self._sessions():
            self._do("SELECT pg_terminate_backend(%s, 5000)", pid)

    def mend(self) -> None:
        self._do(f"ALTER ROLE {ROLE} LOGIN")

    def stop(self) -> int:
        """Its lock's session does not answer any more, and keeps its lock; the process that was stopped."""
        (pid,) = self._sessions()
        os.kill(pid, signal.SIGSTOP)
        return pid

    def remove(self) -> None:
        self._do("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", ROLE)
        self._do(f"DROP ROLE {ROLE}")

    def _sessions(self) -> list[int]:
        asked = """SELECT a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                    WHERE l.locktype = 'advisory' AND l.granted AND a.usename = %s"""
        return [pid for (pid,) in self._do(asked, ROLE)]

    @staticmethod
    def _do(statement: str, *values: object) -> list[tuple[int]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def line(story_env: dict[str, str]) -> Iterator[Line]:
    made = Line()
    yield made
    made.remove()


@pytest.fixture
def crew(line: Line, crew: Crew) -> Crew:
    """Killed before its role is removed."""
    return crew


def not_heard(crew: Crew, worker: WorkerProcess) -> bool:
    return db_now() - crew.row(worker).beat_at > UNHEARD


def test_it_reads_on_and_starts_no_effect_and_another_goes_on_with_its_run(
    crew: Crew, stage: Stage, until: Until, line: Line, record_property: Record
) -> None:
    (cut_off,) = crew.start(1, threads=1, DATABASE_URL=line.url)
    gate = stage.file("gate")
    run = stage.start(act("look", "a"), act("think", "t", then=gate), act("look", "b"), act("put", "c"))
    until(lambda: world.happened("think t"))
    line.cut()
    until(lambda: not_heard(crew, cut_off), 60)
    assert crew.said("no heartbeat") >= 5, "the fault was there"
    stage.let_go(gate)
    until(lambda: crew.said("this worker's heartbeat is not taken") == 1)
    assert [line["pid"] for line in world.happened("look b")] == [cut_off.pid], "it reads on"
    assert stage.step(run, "1").state == "succeeded", "and what it read is on record"
    assert not world.happened("asked to put c")
    assert not Step.objects.filter(run=run, name="put").exists(), "no call to wait for"
    assert cut_off.alive() and state_of(run) == "running"

    (other,) = crew.start(1)
    until(lambda: state_of(run) == "succeeded", 30)
    (rescue,) = stage.entries(run, "run.rescued")
    assert "lost its connection" in rescue.content["reason"]
    took = (rescue.recorded_at - crew.row(other).started_at).total_seconds()
    record_property("seconds until the run of a worker with a free lock was taken over", took)
    assert took < 5 + SLACK
    assert [line["pid"] for line in world.happened("asked to put c")] == [other.pid]
    assert assert_whole(run).output == ["a", "t", "b", "c"]

    other.kill()
    line.mend()
    until(lambda: not not_heard(crew, cut_off))
    after = stage.start(act("put", "d"))
    until(lambda: state_of(after) == "succeeded", 30, "it is heard again, and yet does nothing")
    assert [line["pid"] for line in world.happened("put d")] == [cut_off.pid]


def test_what_it_has_in_hand_is_taken_over_reads_at_once_and_writes_when_they_cannot_arrive_any_more(
    crew: Crew, stage: Stage, until: Until, line: Line, record_property: Record
) -> None:
    (cut_off,) = crew.start(1, threads=1, DATABASE_URL=line.url)
    gate = stage.file("gate")
    run = side_by_side(act("look", "a", then=gate), act("plod", "b", then=gate))
    until(lambda: world.happened("look a") and world.happened("plod b"))
    quiet = Step.objects.get(run=run, name="plod").not_before
    (other,) = crew.start(1)
    cut = db_now()
    line.cut()
    until(lambda: len(world.happened("look a")) == 2, 5 + SLACK)
    (rescue,) = stage.entries(run, "run.rescued")
    assert "lost its connection" in rescue.content["reason"]
    took = (rescue.recorded_at - cut).total_seconds()
    record_property("seconds from the loss of its lock until its run was taken over", took)
    assert took < 5 + SLACK
    assert [line["pid"] for line in world.happened("look a")] == [cut_off.pid, other.pid]

    stage.let_go(gate)
    until(lambda: crew.said("has another owner since epoch") == 1, 20, "the fence refused nothing")
    until(lambda: state_of(run) == "waiting")
    row = Run.objects.get(pk=run.pk)
    assert quiet is not None and row.wake_at == quiet > db_now()
    assert len(world.happened("plod b")) == 1, "not sent again while the first may still arrive"
    time_passes(run)
    until(lambda: state_of(run) == "succeeded")
    sent = world.happened("plod b")
    assert [line["pid"] for line in sent] == [cut_off.pid, other.pid]
    assert len({line["key"] for line in sent}) == 1
    assert assert_whole(run).output == ["a", "b"]


def test_one_whose_heartbeat_hangs_starts_no_effect_and_keeps_its_run_until_its_lease_is_over(
    crew: Crew, stage: Stage, until: Until, line: Line
) -> None:
    """Its session is there and holds the lock: it only looks late."""
    (late,) = crew.start(1, threads=1, DATABASE_URL=line.url, HOLDPOINT_LEASE_SECONDS="12")
    gate = stage.file("gate")
    run = stage.start(act("think", "t", then=gate), act("look", "b"), act("put", "c"))
    until(lambda: world.happened("think t"))
    session = line.stop()
    try:
        until(lambda: not_heard(crew, late), 60)
        stage.let_go(gate)
        until(lambda: crew.said("this worker's heartbeat is not taken") == 1)
        assert len(world.happened("look b")) == 1
        assert not world.happened("asked to put c")
        lease = Run.objects.get(pk=run.pk).lease_until
        crew.start(1)
        until(lambda: stage.entries(run, "run.rescued"), 60)
    finally:
        os.kill(session, signal.SIGCONT)
    (rescue,) = stage.entries(run, "run.rescued")
    assert rescue.content["reason"] == "its lease ran out"
    assert lease is not None and rescue.recorded_at >= lease
    until(lambda: state_of(run) == "succeeded")
    assert len(world.happened("asked to put c")) == 1
    assert assert_whole(run).output == ["t", "b", "c"]


def side_by_side(*acts: workflows.Act) -> Run:
    plan = workflows.Plan(acts=list(acts)).model_dump(mode="json")
    return services.start_run("promises.side_by_side", plan, actor="user:ana")


def time_passes(run: Run) -> None:
    """What was lost can arrive no more."""
    past = db_now() - timedelta(seconds=1)
    Step.objects.filter(run=run).exclude(not_before=None).update(not_before=past)
    Run.objects.filter(pk=run.pk, state="waiting").update(wake_at=past)
