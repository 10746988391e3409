"""A run that has used up what it was given asks for attention before it does more."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from pydantic import BaseModel

from runs import budget, engine, services, workflow
from runs.agent import Limits, agent
from runs.agents.script import CallTool, Conversation, Finish
from runs.context import Run
from runs.models import JournalEntry, Step
from runs.models import Run as RunRow
from runs.workflow import Budget
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)


class Case(BaseModel):
    """An input."""


@pytest.fixture
def done() -> list[str]:
    return []


def play(name: str) -> RunRow:
    run = services.start_run(name, {}, actor="user:ana")
    engine.advance(run.id, "wrk_test")
    run.refresh_from_db()
    return run


class TestBudget:
    def test_of_tool_calls_stops_before_the_next_one(self, done: list[str]) -> None:
        @tool(effect="read")
        def look() -> str:
            """Look."""
            done.append("look")
            return "seen"

        @workflow.workflow("test.calls", budget=Budget(tool_calls=2))
        def calls(run: Run, case: Case) -> None:
            while True:
                run.tool(look)

        run = play("test.calls")
        assert run.state == "needs_attention"
        assert run.attention == {
            "code": "budget",
            "sentence": "The budget of 2 tool calls is used up.",
            "measure": "tool_calls",
            "limit": 2.0,
        }
        assert done == ["look", "look"]

    def test_of_days_stops_a_run_that_takes_too_long(self, done: list[str]) -> None:
        @tool(effect="read")
        def look() -> str:
            """Look."""
            done.append("look")
            return "seen"

        @workflow.workflow("test.days", budget=Budget(days=2))
        def slow(run: Run, case: Case) -> None:
            run.sleep(60)
            run.tool(look)

        run = play("test.days")
        assert run.state == "waiting"
        past = run.created_at - timedelta(days=3)
        Step.objects.update(due_at=past)
        RunRow.objects.update(created_at=past, wake_at=past)
        assert services.wake_due(run.id)
        engine.advance(run.id, "wrk_test")
        run.refresh_from_db()
        assert run.attention["sentence"] == "The budget of 2 days is used up."
        assert done == []

    def test_of_money_counts_what_requests_cost(self, done: list[str]) -> None:
        @tool(effect="read")
        def look() -> str:
            """Look."""
            # As if the request before this one had cost half a dollar.
            Step.objects.filter(kind="model").update(cost="0.5")
            done.append("look")
            return "seen"

        def script(conversation: Conversation) -> CallTool | Finish:
            return CallTool("look", {}) if conversation.turn < 9 else Finish("enough")

        looker = agent("looker", output=str, tools=[look], instructions="Look.", script=script)

        @workflow.workflow("test.money", budget=Budget(cost_usd=0.5))
        def twice(run: Run, case: Case) -> str:
            run.agent(looker, "look around")
            run.sleep(60)
            return str(run.agent(looker, "look again"))

        run = play("test.money")
        assert run.state == "waiting"
        Step.objects.filter(kind="sleep").update(due_at=run.created_at)
        RunRow.objects.update(wake_at=run.created_at)
        services.wake_due(run.id)
        engine.advance(run.id, "wrk_test")
        run.refresh_from_db()
        assert run.attention["sentence"] == "The budget of 0.5 US dollars is used up."


def asked_for(run: RunRow, kind: str) -> list[str]:
    return list(JournalEntry.objects.filter(run=run, kind=kind).values_list("sentence", flat=True))


class TestGrant:
    @pytest.fixture
    def stopped(self, done: list[str]) -> RunRow:
        @tool(effect="read")
        def look(place: int) -> str:
            """Look."""
            done.append("look")
            return "seen"

        @workflow.workflow("test.grant", budget=Budget(tool_calls=2))
        def calls(run: Run, case: Case) -> str:
            for place in range(4):
                run.tool(look, place)
            return "all"

        return play("test.grant")

    def test_it_works(self, stopped: RunRow, done: list[str]) -> None:
        services.grant(stopped.id, {"tool_calls": 2}, actor="user:omar", reason="a long case")
        engine.advance(stopped.id, "wrk_test")
        stopped.refresh_from_db()
        assert (stopped.state, stopped.output, len(done)) == ("succeeded", "all", 4)
        assert asked_for(stopped, "budget.granted") == ["omar granted 2 tool calls more: a long case"]

    def test_it_ends_again_where_the_grant_ends(self, stopped: RunRow, done: list[str]) -> None:
        services.grant(stopped.id, {"tool_calls": 1}, actor="user:omar", reason="one more")
        engine.advance(stopped.id, "wrk_test")
        stopped.refresh_from_db()
        assert stopped.attention["sentence"] == "The budget of 3 tool calls is used up."
        assert len(done) == 3

    @pytest.mark.parametrize(
        ("amounts", "reason"),
        [
            ({}, "why"),
            ({"tool_calls": 0}, "why"),
            ({"tool_calls": -1}, "why"),
            ({"tool_calls": float("nan")}, "why"),
            ({"tool_calls": 10**9}, "why"),
            ({"wishes": 3}, "why"),
            ({"tool_calls": 1}, "  "),
        ],
    )
    def test_it_refuses_what_makes_no_sense(
        self, stopped: RunRow, amounts: dict[str, float], reason: str
    ) -> None:
        with pytest.raises(services.NotPossible):
            services.grant(stopped.id, amounts, actor="user:omar", reason=reason)
        before, head = stopped.granted, stopped.head_seq
        stopped.refresh_from_db()
        assert (stopped.granted, stopped.head_seq, stopped.state) == (before, head, "needs_attention")

    def test_it_refuses_a_run_that_has_ended(self, stopped: RunRow) -> None:
        services.grant(stopped.id, {"tool_calls": 2}, actor="user:omar", reason="a long case")
        engine.advance(stopped.id, "wrk_test")
        with pytest.raises(services.NotPossible, match=r"has succeeded \(at .+, by a worker\)"):
            services.grant(stopped.id, {"tool_calls": 2}, actor="user:omar", reason="again")


class TestWarnings:
    def test_four_fifths_are_said_once(self) -> None:
        @tool(effect="read")
        def look(place: int) -> str:
            """Look."""
            return "seen"

        @workflow.workflow("test.warned", budget=Budget(tool_calls=10))
        def calls(run: Run, case: Case) -> None:
            for place in range(9):
                run.tool(look, place)

        run = play("test.warned")
        assert asked_for(run, "budget.warning") == [
            "More than 80 % of the budget of 10 tool calls is used up"
        ]

    def test_the_same_call_again_and_again_is_said_once(self) -> None:
        @tool(effect="read")
        def look() -> str:
            """Look."""
            return "seen"

        @workflow.workflow("test.loops")
        def calls(run: Run, case: Case) -> None:
            for _ in range(8):
                run.tool(look)

        assert asked_for(play("test.loops"), "step.repeats") == [
            "look is called 5 times with the same arguments"
        ]

    def test_a_cost_far_above_the_usual_is_said_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(budget, "usual_cost", lambda workflow: Decimal("0.10"))
        said = [
            budget.unusual("test", Decimal(spent), Decimal("0.10")) for spent in ("0.2", "0.3", "0.4", "0.5")
        ]
        assert [bool(line) for line in said] == [False, True, False, False]

    def test_the_usual_needs_some_runs(self) -> None:
        assert budget.usual_cost("test.unheard") is None


class TestTheDay:
    def test_all_runs_of_a_workflow_share_it(self) -> None:
        def script(conversation: Conversation) -> Finish:
            return Finish("enough")

        thinker = agent("thinker", output=str, tools=[], instructions="Think.", script=script)

        @workflow.workflow("test.day", budget=Budget(cost_usd_a_day=1))
        def think(run: Run, case: Case) -> str:
            return str(run.agent(thinker, "think"))

        first = play("test.day")
        assert first.state == "succeeded"
        Step.objects.filter(run=first, kind="model").update(cost="1.5")
        budget._known.clear()
        second = play("test.day")
        assert second.attention["sentence"] == (
            "The budget of 1 US dollars a day of all runs of test.day is used up."
        )
        services.grant(second.id, {"cost_usd_a_day": 5}, actor="user:omar", reason="a busy day")
        engine.advance(second.id, "wrk_test")
        second.refresh_from_db()
        assert second.state == "succeeded"

    def test_an_agent_has_its_own(self) -> None:
        def script(conversation: Conversation) -> Finish:
            return Finish("enough")

        limits = Limits(cost_usd_a_day=Decimal(1))
        muser = agent("muser", output=str, tools=[], instructions="Muse.", script=script, limits=limits)

        @workflow.workflow("test.muse")
        def muse(run: Run, case: Case) -> str:
            return str(run.agent(muser, "muse"))

        Step.objects.filter(run=play("test.muse"), kind="model").update(cost="1.5")
        budget._known.clear()
        assert "of agent muser is used up" in play("test.muse").attention["sentence"]


class TestGrantedWhileItGoesOn:
    def test_it_is_known_before_it_stops(self) -> None:
        """A person sees the warning and grants more while a worker has the run."""

        @tool(effect="read")
        def look() -> str:
            """Look."""
            if Step.objects.filter(name="look").count() == 2:
                run_id = RunRow.objects.get().id
                services.grant(run_id, {"tool_calls": 1}, actor="user:omar", reason="Nearly done.")
            return "seen"

        @workflow.workflow("test.granted", budget=Budget(tool_calls=2))
        def granted(run: Run, case: Case) -> list[str]:
            return [run.tool(look) for _ in range(3)]

        run = play("test.granted")
        assert (run.state, run.output, run.attention) == ("succeeded", ["seen"] * 3, None)
