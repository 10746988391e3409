"""One tool call run durably by itself, without a workflow."""

from __future__ import annotations

from typing import Any

import pytest

from runs import engine, services, workflow
from runs.models import Run
from tools.contract import IdempotencyKey, InvalidArguments
from tools.registry import UnknownTool, tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("talking_broker")]


@pytest.fixture(autouse=True)
def weigh() -> None:
    @tool(effect="read", name="weigh")
    def weigh(thing: str, why: str = "") -> int:
        """A parameter called like one of run.tool's own."""
        return len(thing + why)

    @tool(effect="write", name="paint", rollback="None")
    def paint(thing: str, *, key: IdempotencyKey) -> str:
        return thing


@pytest.mark.usefixtures("open_gate")
def test_it_works() -> None:
    run = services.call_tool("weigh", {"thing": "ship", "why": "!"}, actor="user:ana", intent="To know")
    assert (run.workflow, run.version, run.intent, run.requester) == (
        "holdpoint.call",
        1,
        "To know",
        "user:ana",
    )
    engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    assert (run.state, run.output) == ("succeeded", 5)
    assert [(step.kind, step.name) for step in run.steps.all()] == [("tool", "weigh")]


@pytest.mark.parametrize(
    ("name", "arguments", "error", "said"),
    [
        ("wiegh", {}, UnknownTool, "did you mean weigh"),
        ("weigh", {}, InvalidArguments, "thing"),
        ("weigh", {"thing": "a", "size": 1}, InvalidArguments, "size"),
    ],
)
def test_what_cannot_be_called_is_refused_early(name: str, arguments: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        services.call_tool(name, arguments, actor="user:ana")
    assert not Run.objects.exists()


def test_the_gate_is_asked_as_for_any_other_call() -> None:
    from runs import gate

    asked: list[str] = []

    class Shut(gate.ClosedGate):
        def review(self, call: gate.ProposedCall) -> gate.Verdict:
            asked.append(f"{call.requester} {call.tool.name}: {call.why}")
            return super().review(call)

    before = gate.installed()
    gate.install(Shut())
    try:
        run = services.call_tool("paint", {"thing": "ship"}, actor="user:ana", intent="It is grey")
        engine.advance(run.id, "wrk_a")
    finally:
        gate.install(before)
    run.refresh_from_db()
    assert asked == ["user:ana paint: It is grey"]
    assert (run.state, run.steps.get().state) == ("failed", "refused")


def test_it_needs_nobody_to_activate_it(settings: Any) -> None:
    settings.HOLDPOINT_ACTIVATION = True
    assert services.call_tool("weigh", {"thing": "ship"}, actor="user:ana").version == 1


def test_it_stands_apart_from_the_users_workflows() -> None:
    assert "holdpoint.call" not in {known.name for known in workflow.all_workflows()}
    with pytest.raises(ValueError, match="project's own"):

        @workflow.workflow("holdpoint.mine")
        def mine(run: Any, case: dict[str, Any]) -> None:
            """Not allowed."""
