"""A run that has used up what it was given asks for attention before it does more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import BaseModel

from runs import engine, services, workflow
from runs.agent import agent
from runs.agents.script import CallTool, Conversation, Finish
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
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
        assert run.attention == {"code": "budget", "sentence": "The budget of 2 tool calls is used up."}
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
        assert "longer than the 2 days" in run.attention["sentence"]
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
