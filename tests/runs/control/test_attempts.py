"""A step that a person has tried again gets as many attempts as at the first time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from runs import services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.models import Step
from tests.runs.control.conftest import OMAR, start, turn
from tools.contract import IdempotencyKey
from tools.failures import Transient
from tools.registry import tool
from tools.retry import DEFAULT_POLICY

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def asked() -> list[str]:
    """The calls of a bank that is away."""
    made: list[str] = []

    @tool(effect="write", name="e_book", rollback="None")
    def book(*, key: IdempotencyKey) -> str:
        made.append(key)
        raise ConnectionRefusedError("the bank is away")

    @tool(effect="read", name="e_ask")
    def ask() -> str:
        made.append("")
        raise Transient("the bank is away")

    @workflow.workflow("e.write")
    def writes(run: Run, case: dict[str, Any]) -> str:
        return str(run.tool(book))

    @workflow.workflow("e.read")
    def reads(run: Run, case: dict[str, Any]) -> str:
        return str(run.tool(ask))

    return made


def until_it_fails(run: RunRow) -> None:
    """Attempt after attempt, each as soon as it is due."""
    while turn(run) is Outcome.WAITING:
        past = db_now() - timedelta(seconds=1)
        Step.objects.filter(run=run).update(due_at=past)
        RunRow.objects.filter(pk=run.pk).update(wake_at=past)
        services.wake_due(run.pk)


@pytest.mark.parametrize("name", ["e.read", "e.write"])
def test_it_works(asked: list[str], name: str) -> None:
    run = start(name)
    for go in (1, 2, 3):
        until_it_fails(run)
        assert run.state == "failed"
        assert len(asked) == go * DEFAULT_POLICY.attempts
        # It was long ago: neither attempts nor time of an earlier go count.
        Step.objects.filter(run=run).update(started_at=db_now() - timedelta(days=go))
        services.retry_run(run.id, actor=OMAR, reason="the bank is back")
    assert len(set(asked)) == 1
    assert run.steps.get().attempt == len(asked) + 1
