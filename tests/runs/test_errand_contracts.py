"""An errand goes to a worker that knows its tool by the contract that the run knows it by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from pydantic import BaseModel

from runs import engine, messages, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.errands import performing
from runs.models import Errand, Step
from runs.models import Run as RunRow
from tools.contract import IdempotencyKey, Tool
from tools.models import ToolCall
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]


class Nothing(BaseModel):
    """No input."""


Asked = Callable[[], tuple[Tool, RunRow]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """A write on another queue, and a run that has asked for it."""
    monkeypatch.setattr(messages, "_send", lambda task, kwargs, queue, priority: True)

    def start() -> tuple[Tool, RunRow]:
        @tool(effect="write", queue="tools")
        def put(*, key: IdempotencyKey) -> str:
            return "7"

        @workflow.workflow("test.putting")
        def puts(run: Run, nothing: Nothing) -> str:
            return run.tool(put)

        return put, services.start_run("test.putting", {}, actor="user:ana")

    return start


def turn(run: RunRow) -> Outcome:
    return engine.advance(run.pk, "wrk_turns")


def test_a_worker_with_another_contract_leaves_it(asked: Asked) -> None:
    declared, run = asked()
    turn(run)
    errand = Errand.objects.get()
    assert errand.contract == declared.contract_digest
    Errand.objects.filter(pk=errand.pk).update(contract="f" * 64)
    assert not performing.perform(errand.pk, "wrk_tools")
    assert Errand.objects.get().state == "waiting"


def test_after_a_deploy_the_run_asks_anew(asked: Asked) -> None:
    _, run = asked()
    turn(run)
    (errand,) = Errand.objects.all()
    long_ago = db_now() - timedelta(minutes=6)
    Errand.objects.filter(pk=errand.pk).update(contract="f" * 64, created_at=long_ago)
    assert performing.perform(errand.pk, "wrk_tools")
    assert turn(run) is Outcome.WAITING
    call = ToolCall.objects.get()
    assert (call.state, call.failure_class) == ("failed", "transient")
    assert "another contract by now" in call.error
    past = db_now() - timedelta(seconds=1)
    Step.objects.filter(run=run).update(due_at=past)
    RunRow.objects.filter(pk=run.pk).update(wake_at=past)
    services.wake_due(run.pk)
    turn(run)
    again = Errand.objects.exclude(pk=errand.pk).get()
    assert performing.perform(again.pk, "wrk_tools")
    assert turn(run) is Outcome.ENDED
    assert RunRow.objects.get(pk=run.pk).output == "7"


def test_an_errand_of_a_worker_of_before_is_known_by_its_version(asked: Asked) -> None:
    _, run = asked()
    turn(run)
    errand = Errand.objects.get()
    Errand.objects.filter(pk=errand.pk).update(contract="")
    assert performing.perform(errand.pk, "wrk_tools")
