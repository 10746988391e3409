"""How often a call is made: as its tool declares, in the engine's hands."""

from __future__ import annotations

from typing import Any

import pytest

from runs import engine, services, workflow
from runs.agents.port import ToolFailed
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
from tools.failures import Transient
from tools.models import ToolCall
from tools.registry import tool
from tools.retry import RetryPolicy

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("open_gate", "talking_broker"),
]


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [(None, 3), (RetryPolicy(attempts=1), 1), (RetryPolicy(attempts=5), 5), (RetryPolicy(total=0), 1)],
)
def test_as_often_as_its_tool_says(policy: RetryPolicy | None, attempts: int) -> None:
    @tool(effect="read", retry=policy)
    def look() -> str:
        raise Transient("not now")

    @workflow.workflow("t.retries")
    def retries(run: Run, case: dict[str, Any]) -> str:
        try:
            return str(run.tool(look))
        except ToolFailed as error:
            return f"failed: {error}"

    run = services.start_run("t.retries", {}, actor="user:ana")
    for _ in range(attempts):
        engine.advance(run.id, "wrk_a")
        Step.objects.filter(run=run).exclude(due_at=None).update(due_at=run.created_at)
        RunRow.objects.filter(pk=run.pk, state="waiting").update(wake_at=run.created_at)
        services.wake_due(run.id)
    run.refresh_from_db()
    assert (run.state, run.output) == ("succeeded", "failed: not now")
    assert ToolCall.objects.filter(run_id=run.pk).count() == attempts
