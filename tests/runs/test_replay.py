"""Replay without effects: what it finds, and that it can neither write nor act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from pydantic import BaseModel

from runs import agent as agents
from runs import engine, gate, services, workflow
from runs.agents.script import CallTool
from runs.context import Run
from runs.models import Run as RunRow
from runs.replays.replay import replay_run
from runs.replays.report import Report, Verdict
from runs.replays.turn import ReplayTurn
from runs.turns.turn import Turn
from tools.contract import IdempotencyKey
from tools.failures import Refused
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]

made: list[str] = []


@pytest.fixture(autouse=True)
def nothing_made() -> Iterator[None]:
    made.clear()
    yield


@contextmanager
def refusing_writes() -> Iterator[None]:
    """The database itself refuses every write of this connection."""
    on, off = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        "postgresql": (
            "SET default_transaction_read_only = on",
            "SET default_transaction_read_only = off",
        ),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(on)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(off)


def start(name: str, value: Any = None) -> RunRow:
    return services.start_run(name, value or {}, actor="user:ana")


def play(run: RunRow) -> RunRow:
    engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    return run


def replayed(run: RunRow, version: int | None = None) -> Report:
    before = _rows(run)
    with refusing_writes():
        report = replay_run(run.id, version)
    assert _rows(run) == before
    return report


def _rows(run: RunRow) -> Any:
    run.refresh_from_db()
    return (run.head_seq, run.lease_epoch, list(run.steps.values_list("path", "state", "attempt")))


@tool(effect="read", name="replayed_look")
def look(place: int) -> int:
    made.append(f"look {place}")
    return place * 10


@tool(effect="irreversible", name="replayed_send")
def send(place: int, *, key: IdempotencyKey) -> str:
    made.append(f"send {place}")
    return f"sent {place}"


@pytest.fixture(autouse=True)
def tools_of_this_file(own_registries: None) -> None:
    from tools import registry

    registry._tools.update({"look": look, "send": send})


def again(name: str, function: Any) -> None:
    """Deploy other code for version 1."""
    known = workflow._registry.pop((name, 1))
    workflow.workflow(name)(function)
    assert workflow.get(name).function is not known.function


class TestReplay:
    def test_it_works(self) -> None:
        @workflow.workflow("r.works")
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.now(), run.uuid(), run.random()
            run.tool(look, 1)
            return str(run.tool(send, 2))

        run = play(start("r.works"))
        made.clear()
        report = replayed(run)
        assert (report.verdict, report.steps) == (Verdict.MATCHES, 5)
        assert report.goes_on == "it has ended, with the recorded output"
        assert made == []

    def test_it_ends_where_the_record_ends(self) -> None:
        @workflow.workflow("r.waits")
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            run.sleep(3600)
            return str(run.tool(send, 2))

        run = play(start("r.waits"))
        report = replayed(run)
        assert report.matches
        assert report.goes_on == "it goes on at step 2, sleep, which is waiting"

    def test_an_act_where_the_record_has_a_gap_is_no_end_of_the_record(self) -> None:
        @workflow.workflow("r.gap")
        def flow(run: Run, case: dict[str, Any]) -> None:
            run.later(look, 1)  # takes its place, and is never done
            run.tool(look, 2)
            run.sleep(3600)

        run = play(start("r.gap"))
        assert replayed(run).matches

        def changed(run: Run, case: dict[str, Any]) -> None:
            run.tool(look, 1)
            run.tool(look, 2)
            run.sleep(3600)

        again("r.gap", changed)
        parted = replayed(run).divergence
        assert parted is not None
        assert (parted.path, parted.asked.what) == ("1", "tool replayed_look")
        assert parted.recorded.what == "nothing, and then tool replayed_look at step 2"

    def test_a_run_that_never_began_matches(self) -> None:
        @workflow.workflow("r.fresh")
        def flow(run: Run, case: dict[str, Any]) -> str:
            return str(run.tool(send, 2))

        report = replayed(start("r.fresh"))
        assert (report.matches, report.goes_on) == (True, "it goes on with step 1, tool replayed_send")
        assert made == []

    def test_other_arguments_are_shown_side_by_side(self) -> None:
        @workflow.workflow("r.changed")
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            run.sleep(3600)
            return "done"

        run = play(start("r.changed"))

        def other(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 2)
            return "done"

        again("r.changed", other)
        report = replayed(run)
        assert report.verdict is Verdict.DIVERGED
        assert report.divergence is not None
        assert report.divergence.path == "1"
        assert report.divergence.recorded.arguments == {"place": 1}
        assert report.divergence.asked.arguments == {"place": 2}
        assert "other arguments" in report.divergence.recorded.what

    def test_a_step_left_out_and_a_step_too_many_are_found(self) -> None:
        @workflow.workflow("r.ended")
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            run.tool(look, 2)
            return "done"

        run = play(start("r.ended"))

        def fewer(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            return "done"

        again("r.ended", fewer)
        left_out = replayed(run).divergence
        assert left_out and (left_out.path, left_out.recorded.what) == ("2", "tool replayed_look")
        assert left_out.asked.what == "the end of the workflow"

        def more(run: Run, case: dict[str, Any]) -> str:
            for place in (1, 2, 3):
                run.tool(look, place)
            return "done"

        again("r.ended", more)
        too_many = replayed(run).divergence
        assert too_many and (too_many.path, too_many.asked.what) == ("3", "tool replayed_look")
        assert too_many.recorded.what.startswith("the end of the workflow")

    def test_an_ended_run_must_come_to_its_output_again(self) -> None:
        @workflow.workflow("r.output")
        def flow(run: Run, case: dict[str, Any]) -> str:
            return "done"

        run = play(start("r.output"))

        def other(run: Run, case: dict[str, Any]) -> str:
            return "finished"

        again("r.output", other)
        found = replayed(run).divergence
        assert found and (found.recorded.arguments, found.asked.arguments) == ("done", "finished")

    def test_a_failure_is_the_same_wherever_its_line_went(self) -> None:
        @workflow.workflow("r.fails")
        def flow(run: Run, case: dict[str, Any]) -> str:
            raise LookupError("nobody is there")

        run = play(start("r.fails"))
        assert run.state == "failed"

        def moved(run: Run, case: dict[str, Any]) -> str:
            place = "there"
            raise LookupError(f"nobody is {place}")

        again("r.fails", moved)
        assert replayed(run).matches

    def test_missing_code_and_another_version(self) -> None:
        @workflow.workflow("r.versions")
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            return "done"

        run = play(start("r.versions"))

        @workflow.workflow("r.versions", version=2)
        def newer(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 9)
            return "done"

        assert replayed(run).matches
        assert replayed(run, 2).verdict is Verdict.DIVERGED
        missing = replayed(run, 3)
        assert missing.verdict is Verdict.MISSING_CODE
        assert "no version 3" in missing.sentence

    def test_no_such_run(self) -> None:
        with pytest.raises(services.NotFound):
            replay_run("run_none")

    def test_code_that_swallows_everything_is_stopped_all_the_same(self) -> None:
        @workflow.workflow("r.swallows")
        def flow(run: Run, case: dict[str, Any]) -> str:
            try:
                run.tool(look, 1)
                run.sleep(3600)
            except BaseException:  # noqa: S110 - what a careless author writes
                pass
            return str(run.tool(send, 2))

        run = play(start("r.swallows"))
        assert run.state == "waiting"
        assert replayed(run).goes_on == "it goes on at step 2, sleep, which is waiting"
        assert made == ["look 1"]

    def test_code_that_writes_past_its_run_is_told(self) -> None:
        @workflow.workflow("r.writes")
        def flow(run: Run, case: dict[str, Any]) -> str:
            RunRow.objects.filter(pk=run.id).update(intent="written")
            return "done"

        run = play(start("r.writes"))
        RunRow.objects.filter(pk=run.id).update(intent="")
        found = replay_run(run.id)
        run.refresh_from_db()
        assert run.intent == ""
        assert found.verdict is Verdict.UNREADABLE and "may not write" in found.sentence


class TestBranches:
    def test_the_end_of_the_record_ends_one_branch_only(self) -> None:
        def nap(run: Run, place: int) -> int:
            run.tool(look, place)
            run.sleep(3600)
            run.tool(look, place)
            return place

        @workflow.workflow("r.branches")
        def flow(run: Run, case: dict[str, Any]) -> list[int]:
            return run.gather(run.later(nap, 1), run.later(nap, 2), run.later(look, 3))

        run = play(start("r.branches"))
        report = replayed(run)
        assert (report.matches, report.steps) == (True, 7)

        def nap_of_others(run: Run, place: int) -> int:
            run.tool(look, place if place == 1 else 99)
            run.sleep(3600)
            return place

        nap_of_others.__qualname__ = nap.__qualname__

        def other(run: Run, case: dict[str, Any]) -> list[int]:
            return run.gather(run.later(nap_of_others, 1), run.later(nap_of_others, 2), run.later(look, 3))

        again("r.branches", other)
        found = replayed(run).divergence
        assert found and found.path == "2/1"

    def test_a_race_and_what_the_others_left(self) -> None:
        @workflow.workflow("r.race")
        def flow(run: Run, case: dict[str, Any]) -> list[Any]:
            place, value = run.race(run.later(run.sleep, 3600), run.later(look, 4))
            run.sleep(3600)
            return [place, value]

        run = play(start("r.race"))
        report = replayed(run)
        assert report.matches
        assert report.goes_on == "it goes on at step 4, sleep, which is waiting"

    def test_a_failed_branch(self) -> None:
        @tool(effect="read")
        def refuse() -> int:
            raise Refused("not today")

        @workflow.workflow("r.refused")
        def flow(run: Run, case: dict[str, Any]) -> str:
            try:
                run.gather(run.later(run.sleep, 3600), run.later(refuse))
            except Refused as error:
                return f"told: {error.reason}"
            return "nobody failed"

        run = play(start("r.refused"))
        assert replayed(run).matches

    def test_a_step_inside_a_branch_that_had_ended_is_found(self) -> None:
        def one(run: Run) -> int:
            return int(run.tool(look, 1))

        @workflow.workflow("r.inside")
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.gather(run.later(one))
            run.sleep(3600)
            return "done"

        run = play(start("r.inside"))

        def two(run: Run) -> int:
            run.tool(look, 1)
            return int(run.tool(look, 2))

        two.__qualname__ = one.__qualname__

        def other(run: Run, case: dict[str, Any]) -> str:
            run.gather(run.later(two))
            run.sleep(3600)
            return "done"

        again("r.inside", other)
        found = replayed(run).divergence
        assert found and (found.path, found.recorded.what) == ("1/2", "the end of branch one")


class TestOtherKinds:
    def test_patched(self) -> None:
        @workflow.workflow("r.patched")
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            run.tool(look, 2)
            run.sleep(case["seconds"])
            return "done"

        waiting, ended = play(start("r.patched", {"seconds": 3600})), play(start("r.patched", {"seconds": 0}))

        def changed(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            run.tool(look, 7 if run.patched("seven") else 2)
            run.sleep(case["seconds"])
            if run.patched("bow-out"):
                run.tool(look, 9)
            return "done"

        again("r.patched", changed)
        assert replayed(waiting).matches
        assert replayed(ended).matches

    def test_children_are_read_from_the_record(self) -> None:
        @workflow.workflow("r.child")
        def child(run: Run, case: dict[str, Any]) -> int:
            return int(run.tool(look, 5))

        @workflow.workflow("r.parent")
        def flow(run: Run, case: dict[str, Any]) -> int:
            found = run.child("r.child", {})
            run.sleep(3600)
            return int(found)

        run = play(start("r.parent"))
        assert replayed(run).goes_on == "it goes on at step 1, child r.child, which is waiting"
        play(RunRow.objects.get(parent_id=run.id))
        run = play(run)
        assert replayed(run).goes_on == "it goes on at step 2, sleep, which is waiting"

    def test_a_restart(self) -> None:
        @workflow.workflow("r.again")
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            if case.get("round", 0) < 1:
                run.restart({"round": 1})
            return "done"

        run = play(start("r.again"))
        assert run.continued_by
        assert replayed(run).goes_on == "it has gone on as a fresh run"

    def test_a_clean_up_is_replayed_too(self) -> None:
        def undo(run: Run, case: dict[str, Any]) -> None:
            run.tool(look, 8)

        @workflow.workflow("r.cancelled", on_cancel=undo)
        def flow(run: Run, case: dict[str, Any]) -> str:
            run.tool(look, 1)
            run.sleep(3600)
            return "done"

        run = play(start("r.cancelled"))
        services.cancel_run(run.id, actor="user:omar", reason="no longer needed")
        run = play(run)
        assert run.state == "cancelled"
        assert replayed(run).goes_on == "it has ended, cleaned up as recorded"
        known = workflow._registry.pop(("r.cancelled", 1))
        workflow.workflow("r.cancelled")(known.function)
        found = replayed(run).divergence
        assert found and (found.path, found.asked.what) == ("cancel/1", "no clean-up at all")


class Finding(BaseModel):
    """What the agent answers."""

    said: str


class TestAgents:
    @pytest.fixture(autouse=True)
    def own_agents(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(agents, "_agents", dict(agents._agents))

    def test_the_inside_of_one_under_way_is_replayed_and_no_model_is_asked(
        self, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        asked: list[int] = []

        def script(conversation: Any) -> Any:
            asked.append(conversation.turn)
            return CallTool(look, {"place": 3}) if conversation.turn == 1 else CallTool(send, {"place": 3})

        clerk = agents.agent(
            "replay-clerk", output=Finding, tools=[look, send], instructions="Look, then send.", script=script
        )

        class HoldingGate:
            def review(self, call: Any) -> Any:
                changes = call.tool.effect.changes_the_world
                return gate.Hold("test") if changes else gate.Go("test")

            def open(self, call: Any, hold: Any) -> list[Any]:
                return []

            def answer(self, call: Any) -> Any:
                return gate.Hold("test")

            def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Any]:
                return []

        monkeypatch.setattr(gate, "_installed", HoldingGate())

        @workflow.workflow("r.agent")
        def flow(run: Run, case: dict[str, Any]) -> str:
            return str(run.agent(clerk, "Go on."))

        run = play(start("r.agent"))
        assert (run.state, asked) == ("waiting", [1, 2])

        class Untouchable:
            def __getattr__(self, name: str) -> Any:
                raise AssertionError(f"the gate was asked to {name}")

        monkeypatch.setattr(gate, "_installed", Untouchable())
        settings.HOLDPOINT_MODEL = "openai-chat:some-model"  # and no key for it: it must not be needed
        made.clear()
        report = replayed(run)
        assert report.matches, report.sentence
        assert report.goes_on == "it goes on at step 1/tool:2.1, tool replayed_send, which is held"
        assert (report.steps, asked, made) == (5, [1, 2], [])


class TestNothingCanBeDone:
    def test_every_way_on_is_closed(self) -> None:
        """What a turn offers to write or act is known here; whatever comes to it must be thought about."""
        reading = {"find", "furthest", "stop", "go_on_only_if_running", "check_all_visited", "taken_over"}
        reading |= {"check_branch_visited"}
        reading |= {"needing_the_database", "lease_for", "lease_left", "must_still_own", "active_ms", "now"}
        reading |= {"replays", "budget", "spent", "errand_of", "is_new_errand"}
        offered = {name for name in vars(Turn) if not name.startswith("_")} - reading

        assert sorted(name for name in offered if name not in vars(ReplayTurn)) == []
