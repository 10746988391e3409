"""Cancelling with clean-up, what stays in doubt, and runs that fork from others."""

from __future__ import annotations

from typing import Any

import pytest

from runs import endings, engine, journal, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Artifact, Step
from runs.models import Run as RunRow
from runs.turns import lease
from tests.runs.control.conftest import ANA, OMAR, start, turn
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.models import ToolCall
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)


class World:
    """What was done, and whether the clean-up fails."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.broken = False


@pytest.fixture
def world() -> World:
    there = World()

    @tool(effect="write", risk="low", name="k_put", rollback="None")
    def put(*, key: IdempotencyKey) -> str:
        there.done.append(("put", key))
        return "put"

    @tool(effect="write", risk="low", name="k_clean", rollback="None")
    def clean(*, key: IdempotencyKey) -> str:
        if there.broken:
            raise RuntimeError("the door is stuck")
        there.done.append(("clean", key))
        return "cleaned"

    def clean_up(run: Run, case: dict[str, Any]) -> None:
        run.sleep(60)
        if there.broken:
            raise RuntimeError("the door is stuck")
        run.tool(clean)

    @workflow.workflow("k.flow", on_cancel=clean_up)
    def flow(run: Run, case: dict[str, Any]) -> list[str]:
        done = [run.tool(put)]
        run.sleep(3600)
        return [*done, run.tool(put)]

    @workflow.workflow("k.plain")
    def plain(run: Run, case: dict[str, Any]) -> list[str]:
        done = [run.tool(put)]
        run.artifact("notes", "what was seen")
        run.sleep(0)
        return [*done, run.tool(put)]

    @workflow.workflow("k.plain", version=2)
    def plainer(run: Run, case: dict[str, Any]) -> list[str]:
        done = [run.tool(put)]
        run.artifact("notes", "what was seen")
        run.sleep(0)
        return [*done, "version 2"]

    return there


def cancel(run: RunRow) -> RunRow:
    services.cancel_run(run.id, actor=OMAR, reason="not needed")
    run.refresh_from_db()
    return run


def pass_time(run: RunRow) -> None:
    Step.objects.filter(run=run, state="waiting").update(due_at=db_now())
    RunRow.objects.filter(pk=run.pk).exclude(wake_at=None).update(wake_at=db_now())
    timers.wake_due_runs()


class TestCleanUp:
    """What the workflow wants done before it ends."""

    def test_waits_and_is_woken_by_the_clock(self, world: World) -> None:
        run = start("k.flow")
        turn(run)
        cancel(run)
        assert (run.state, run.lease_owner) == ("cancelling", "") and run.wake_at is not None
        assert turn(run) is engine.Outcome.WAITING
        assert run.state == "cancelling" and run.wake_at == run.steps.get(path="cancel/1").due_at
        before = run.wakes
        pass_time(run)
        run.refresh_from_db()
        assert run.wakes == before + 1, "a caretaker found it"
        turn(run)
        assert (run.state, [what for what, _ in world.done]) == ("cancelled", ["put", "clean"])
        assert run.output == {"error": {"type": "Cancelled", "message": "not needed"}}
        assert list(journal.verify(run, run.journal.order_by("seq"))) == []

    def test_that_fails_needs_a_person_who_has_it_tried_again(self, world: World) -> None:
        run = self.failed(world)
        world.broken = False
        services.resume_run(run.id, actor=OMAR, reason="the door is open")
        run.refresh_from_db()
        assert (run.state, run.attention, run.stop_reason) == ("cancelling", None, "not needed")
        turn(run)
        assert (run.state, world.done[-1][0]) == ("cancelled", "clean")

    def test_that_fails_is_left_out_by_a_second_cancel(self, world: World) -> None:
        run = self.failed(world)
        with pytest.raises(services.NotPossible, match="being cancelled when it stopped"):
            services.retry_run(run.id, actor=OMAR, reason="because")
        cancel(run)
        assert run.state == "cancelled" and world.done[-1][0] == "put"
        assert "without the rest of its clean-up" in run.journal.latest("seq").sentence

    def failed(self, world: World) -> RunRow:
        run = start("k.flow")
        turn(run)
        cancel(run)
        turn(run)
        world.broken = True
        pass_time(run)
        turn(run)
        assert run.state == "needs_attention" and run.attention is not None
        assert (run.attention["code"], run.attention["cleanup"]) == ("cleanup_failed", True)
        return run

    def test_whose_workers_die_three_times_is_quarantined_as_clean_up(self, world: World) -> None:
        run = start("k.flow")
        turn(run)
        cancel(run)
        for _ in range(services.MAX_CRASHES):
            claimed = lease.claim(run.id, "wrk_dead")
            assert claimed is not None and claimed.run.state == "cancelling"
            assert services.rescue_run(
                run.id, claimed.run.lease_epoch, reason="it died", died=True, proven=True, alone=False
            )
        run.refresh_from_db()
        assert run.state == "needs_attention" and run.attention is not None and run.attention["cleanup"]
        services.resume_run(run.id, actor=OMAR, reason="again")
        run.refresh_from_db()
        assert run.state == "cancelling"


class TestAtOnce:
    """Where nobody needs to clean up."""

    def begun(self, world: World) -> RunRow:
        """A run whose worker died in the middle of a write, back in the queue."""
        run = start("k.plain")
        claimed = lease.claim(run.id, "wrk_dead")
        assert claimed is not None
        epoch = claimed.run.lease_epoch
        step = Step.objects.create(
            id="stp_1", run=run, path="1", position=1, kind="tool", name="k_put", fingerprint="",
            epoch=epoch, effect="write", key="k", started_at=db_now(),
        )  # fmt: skip
        ToolCall.objects.create(
            id="call_1", step_id=step.id, run_id=run.id, tool="k_put", version=1, effect="write", key="k",
            arguments_digest="", started_at=db_now(),
        )  # fmt: skip
        services.rescue_run(run.id, epoch, reason="it died", died=True, proven=False, alone=False)
        run.refresh_from_db()
        return run

    def test_a_begun_write_is_left_unknown_and_settled_later(self, world: World) -> None:
        run = cancel(self.begun(world))
        assert run.state == "cancelled"
        assert run.steps.get().state == "unknown"
        assert ToolCall.objects.get().state == "unknown"
        calls.settle("call_1", "did_not_happen", note="Looked.", by=OMAR)
        run.refresh_from_db()
        assert (run.state, run.steps.get().state) == ("cancelled", "cancelled"), "it stays as it ended"

    def test_whoever_listens_hears_of_the_end(self, nap: str, monkeypatch: pytest.MonkeyPatch) -> None:
        heard: list[str] = []
        monkeypatch.setitem(endings._listeners, "test", lambda run: heard.append(f"{run.id} {run.state}"))
        run = start(nap)
        cancel(run)
        assert heard == [f"{run.id} cancelled"]


class TestFork:
    """A new run with what another one has on record."""

    def origin(self) -> RunRow:
        run = services.start_run("k.plain", {}, actor=ANA, version=1)
        turn(run)
        pass_time(run)
        turn(run)
        assert run.state == "succeeded"
        return run

    def test_takes_along_what_was_done_and_repeats_none_of_it(self, world: World) -> None:
        origin = self.origin()
        assert len(world.done) == 2
        fork = services.fork_run(origin.id, "4", actor=OMAR, reason="a try")
        assert (fork.requester, fork.source, fork.forked_from) == (OMAR, "fork", origin.id)
        before = list(fork.steps.order_by("position").values_list("path", "state", "key"))
        assert [path for path, *_ in before] == ["1", "2", "3"]
        assert not set(fork.steps.values_list("id", flat=True)) & set(
            origin.steps.values_list("id", flat=True)
        )
        assert Step.history.filter(run_id=fork.id, actor=OMAR).count() == 3
        turn(fork)
        assert (fork.state, fork.output) == ("succeeded", ["put", "put"])
        assert len(world.done) == 3, "only what comes after"
        assert len({key for _, key in world.done}) == 3, "with a key of its own"
        assert Artifact.objects.filter(run=fork).count() == 1
        for run in (origin, fork):
            run.refresh_from_db()
            assert list(journal.verify(run, run.journal.order_by("seq"))) == []
        told = [run.journal.get(content__forked_from=origin.id).content for run in (origin, fork)]
        assert {entry["run"] for entry in told} == {fork.id}
        assert set(told[1]["steps"]) == {"1", "2", "3"} and all(
            len(d) == 64 for d in told[1]["steps"].values()
        )

    def test_may_take_another_version(self, world: World) -> None:
        origin = self.origin()
        fork = services.fork_run(origin.id, "4", actor=OMAR, reason="a try", version=2)
        turn(fork)
        assert (fork.version, fork.output) == (2, ["put", "version 2"])
        with pytest.raises(workflow.UnknownWorkflow):
            services.fork_run(origin.id, "4", actor=OMAR, reason="a try", version=9)

    def test_never_does_over_what_may_have_happened(self, world: World) -> None:
        origin = self.origin()
        origin.steps.filter(path="1").update(state="unknown")
        count = RunRow.objects.count()
        with pytest.raises(services.NotPossible, match=r"step 1 \(k_put\) was begun and may have happened"):
            services.fork_run(origin.id, "2", actor=OMAR, reason="a try")
        assert RunRow.objects.count() == count
        assert services.fork_run(origin.id, "1", actor=ANA, reason="a try").steps.count() == 0
