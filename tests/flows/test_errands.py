"""Tools on a queue of their own, with real workers: they overlap, and a body that hangs is killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.doctor import Finding, examine
from ops.launch.processes import ChildProcess
from runs import services
from runs.crew import workers
from runs.models import Errand, Run, Worker
from runs.services import MAX_CRASHES
from tests.flows.conftest import Crew, Stage, assert_whole, state_of
from tests.flows.promises import workflows, world
from tests.flows.promises.tools import STALLS
from tests.flows.story import Until, act
from tools.models import ToolCall

pytestmark = pytest.mark.processes
Record = Callable[[str, object], None]
SLACK = 10  # seconds above the promised 2, on a machine that does much else
TURNS = ("runs", "agents", "caretakers")


def start(*acts: workflows.Act) -> Run:
    plan = workflows.Plan(acts=list(acts)).model_dump(mode="json")
    return services.start_run("promises.side_by_side", plan, actor="user:ana")


def tool_workers(crew: Crew, until: Until, children: int = 1, processes: int = 1) -> None:
    crew.start(processes, queues=("tools",), pool="prefork", threads=children)
    until(lambda: Worker.objects.filter(queues="tools").count() >= children * processes)


def test_two_workers_really_overlap(crew: Crew, stage: Stage, until: Until) -> None:
    """Each body waits until the other has begun: one after the other they would never end."""
    crew.start(1, queues=TURNS)
    tool_workers(crew, until, processes=2)
    gates = [stage.file("a"), stage.file("b")]
    run = start(act("weigh", "a", then=gates[0]), act("weigh", "b", then=gates[1]))
    until(lambda: world.happened("weigh a") and world.happened("weigh b"))
    assert Errand.objects.filter(state="taken").count() == 2
    until(lambda: state_of(run) == "waiting")  # no worker of the run is held meanwhile
    pids = {line["pid"] for line in world.happened()}
    assert len(pids) == 2
    for gate in gates:
        stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")
    row = assert_whole(run)
    assert row.output == ["a", "b"]
    turns = set(Worker.objects.exclude(queues="tools").values_list("pid", flat=True))
    assert not pids & turns


def test_where_nobody_listens_the_run_waits_and_goes_on_when_one_comes(
    crew: Crew, stage: Stage, until: Until
) -> None:
    crew.start(1, queues=TURNS)
    run = stage.start(act("weigh", "a"), act("put", "b"))
    until(lambda: state_of(run) == "waiting")
    tool_workers(crew, until)
    until(lambda: state_of(run) == "succeeded", 30)
    assert assert_whole(run).output == ["a", "b"]
    assert len(world.happened("weigh a")) == 1


def test_a_body_that_holds_the_interpreter_is_killed_and_its_run_stops_at_the_third_time(
    crew: Crew, stage: Stage, until: Until, record_property: Record
) -> None:
    crew.start(1, queues=TURNS)
    tool_workers(crew, until)
    doomed = stage.start(act("look", "before"), act("freeze", "a"))
    until(lambda: state_of(doomed) == "needs_attention", 90)
    row = assert_whole(doomed)
    assert (row.attention["code"], row.crashes) == ("poison", MAX_CRASHES)
    deaths = world.happened("freeze a")
    assert len({line["pid"] for line in deaths}) == len(deaths) == MAX_CRASHES
    assert len(world.happened("look before")) == 1
    losses = stage.entries(doomed, "errand.lost")
    begun = [line["at"] for line in deaths]
    for loss, began in zip(losses, begun, strict=True):
        assert "did not end within 1 s" in loss.sentence or "lost in the middle" in loss.sentence
        known_after = loss.recorded_at.timestamp() - began - 1  # its timeout
        assert known_after < 10
        record_property("seconds from a timeout until the death is known", known_after)
    after = stage.start(act("weigh", "b"), act("put", "c"))
    until(lambda: state_of(after) == "succeeded", 30, "the pool has another child")


def test_a_body_that_hangs_in_c_is_killed_whatever_it_hangs_in(
    crew: Crew, stage: Stage, until: Until, record_property: Record
) -> None:
    """Also with every signal blocked, or with the interpreter held, or when it has taken the timer away."""
    crew.start(1, queues=TURNS)
    tool_workers(crew, until, children=len(STALLS))
    runs = {how: stage.start(act("stall", how)) for how in STALLS}
    until(lambda: all(stage.entries(run, "errand.lost") for run in runs.values()), 60)
    for how, run in runs.items():
        first = world.happened(f"stall {how}")[0]
        # Its errand may be given up before it is killed and buried.
        until(lambda pid=first["pid"]: not Path(f"/proc/{pid}").exists(), 10, how)
        known_after = stage.entries(run, "errand.lost")[0].recorded_at.timestamp() - first["at"] - 1
        record_property(f"seconds from a timeout until the death is known, {how}", known_after)
        assert known_after < 2 + SLACK
    assert crew.said("the timer that would end it is gone") == 1


def test_a_write_in_flight_on_a_killed_worker_is_done_once(
    crew: Crew, stage: Stage, until: Until, record_property: Record
) -> None:
    crew.start(1, queues=TURNS)
    tool_workers(crew, until)
    gate = stage.file("gate")
    run = stage.start(act("carve", "a", then=gate))
    until(lambda: world.happened("carve a"))
    killed = time.time()
    os.kill(world.happened("carve a")[0]["pid"], signal.SIGKILL)
    until(lambda: len(world.happened("asked to carve a")) == 2, 20)
    again_after = world.happened("asked to carve a")[1]["at"] - killed
    record_property("seconds from kill -9 of a child until its call is made again", again_after)
    assert again_after < 2 + SLACK
    stage.let_go(gate)
    until(lambda: state_of(run) == "succeeded")
    assert_whole(run)
    assert len(world.happened("carve a")) == 1, "one key, one effect"
    assert [call.state for call in ToolCall.objects.order_by("attempt")] == ["failed", "succeeded"]


def test_the_run_outlives_its_own_worker_while_an_errand_is_under_way(
    crew: Crew, stage: Stage, until: Until
) -> None:
    crew.start(1, queues=TURNS)
    tool_workers(crew, until)
    gate = stage.file("gate")
    run = stage.start(act("carve", "a", then=gate), act("look", "b"))
    until(lambda: world.happened("carve a"))
    crew.workers[0].kill()
    stage.let_go(gate)
    crew.start(1, queues=TURNS)
    until(lambda: state_of(run) == "succeeded", 30)
    assert (assert_whole(run).crashes, len(world.happened("asked to carve a"))) == (0, 1)


def test_a_worker_of_a_queue_of_its_own_is_started_with_the_command_that_people_are_told(
    crew: Crew, stage: Stage, until: Until, story_env: dict[str, str], tmp_path: Path
) -> None:
    """As one that alone holds the credentials for payments."""
    crew.start(1, queues=TURNS)
    tool_workers(crew, until)
    run = stage.start(act("look", "a"), act("pay", "b"), act("look", "c"))
    until(lambda: state_of(run) == "waiting")
    found = on_queue("payments")
    assert "no worker listens on queue payments and none ever did; 1 tool call waits" in found.what
    assert found.cure == f"Start one: {workers.how_to_start('payments')}"

    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # as in the project's environment
    pasted = ["sh", "-c", f"exec {workers.how_to_start('payments')}"]
    log = tmp_path / "logs" / "payments.log"
    payments = ChildProcess("payments", pasted, log=log, env={**story_env, "PATH": path}).start()
    try:
        until(lambda: state_of(run) == "succeeded" or not payments.alive(), 60)
        assert assert_whole(run).output == ["a", "b", "c"], payments.last_words()
        (paid,) = world.happened("pay b")
        row = Worker.objects.get(pid=paid["pid"])
        assert (row.queues, row.pool) == ("payments", "prefork")
        assert "payments has a worker" in on_queue("payments").what
        payments.send(signal.SIGTERM)
        until(lambda: not payments.alive(), 30, "it does not end")
        assert payments.exit_code == 0
    finally:
        payments.kill()
    after = stage.start(act("pay", "d"))
    until(lambda: state_of(after) == "waiting")
    assert f"since {Worker.objects.get(pk=row.pk).beat_at:%Y-%m-%d %H:%M:%S} UTC" in on_queue("payments").what


def on_queue(name: str) -> Finding:
    """What the doctor says about that queue."""
    (found,) = [each for each in examine() if each.subject == "workers" and f"queue {name} " in each.what]
    return found
