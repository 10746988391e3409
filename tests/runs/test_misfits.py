"""A tool that answers otherwise than its contract: a failure of its own kind, counted once, and its route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from runs import engine, messages, services, workflow
from runs.agents.port import ToolFailed
from runs.context import Run
from runs.engine import Outcome
from runs.errands import performing
from runs.models import Errand
from runs.models import Run as RunRow
from tools.contract import IdempotencyKey, Tool
from tools.misfits import Misfit, of_tools
from tools.models import ToolCall
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]
BAD: list[Any] = [
    {"number": 7},
    {"number": "7", "more": 1},
    [],
    float("nan"),
    "\ud800",
    b"\xff",
    {"number": "x" * 5_000_000},
    object(),
]


class Nothing(BaseModel):
    """No input."""


class Receipt(BaseModel, extra="forbid"):
    """What a tool promises."""

    number: str


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_send", lambda task, kwargs, queue, priority: True)


Asking = Callable[..., tuple[Tool, RunRow]]


@pytest.fixture
def asking() -> Asking:
    """A tool that answers with something, and a run that calls it and hears a failure."""

    def start(answer: Any, effect: str = "read", **more: Any) -> tuple[Tool, RunRow]:
        def ask(*, key: IdempotencyKey) -> Receipt:
            return answer

        declared = tool(effect=effect, name="test_ask", rollback="none", **more)(ask)

        @workflow.workflow("test.asking")
        def asks(run: Run, nothing: Nothing) -> str:
            try:
                return run.tool(declared).number
            except ToolFailed as failed:
                return f"heard {failed.failure.kind}"

        return declared, services.start_run("test.asking", {}, actor="user:ana")

    return start


def turn(run: RunRow) -> Outcome:
    return engine.advance(run.pk, "wrk_turns")


@pytest.mark.parametrize("answer", BAD, ids=lambda answer: str(type(answer)))
def test_what_was_not_promised_is_a_failure_that_the_run_hears(asking: Asking, answer: Any) -> None:
    declared, run = asking(answer)
    assert turn(run) is Outcome.ENDED
    assert RunRow.objects.get(pk=run.pk).output == "heard fatal"
    (call,) = ToolCall.objects.all()
    assert (call.state, call.failure_class) == ("failed", "fatal")
    (row,) = Misfit.objects.all()
    assert (row.call_id, row.run_id, row.tool, row.version) == (call.id, run.pk, "test_ask", 1)
    assert row.contract == declared.contract_digest
    assert "x" * 100 not in row.problem
    assert of_tools("test_ask")["test_ask", declared.contract_digest].count == 1


def test_what_fits_counts_for_nothing(asking: Asking) -> None:
    _, run = asking({"number": "7"})
    turn(run)
    assert RunRow.objects.get(pk=run.pk).output == "7"
    assert not Misfit.objects.exists() and of_tools() == {}


def test_another_failure_counts_for_nothing() -> None:
    @tool(effect="read")
    def test_break() -> str:
        raise ValueError("contract_misfit")

    @workflow.workflow("test.breaking")
    def breaks(run: Run, nothing: Nothing) -> str:
        return run.tool(test_break)

    run = services.start_run("test.breaking", {}, actor="user:ana")
    turn(run)
    assert ToolCall.objects.get().state == "failed"
    assert not Misfit.objects.exists()


@pytest.mark.parametrize("effect", ["write", "irreversible"])
def test_a_write_that_returned_garbage_may_have_happened(asking: Asking, effect: str) -> None:
    _, run = asking({"number": 7}, effect)
    turn(run)
    row = RunRow.objects.get(pk=run.pk)
    assert (row.state, row.attention["code"]) == ("needs_attention", "unknown_outcome")
    assert ToolCall.objects.get().state == "unknown"
    assert Misfit.objects.count() == 1


def test_a_write_that_its_lookup_finds_has_happened_and_is_counted_all_the_same(asking: Asking) -> None:
    declared, run = asking({"number": 7}, "irreversible")
    declared.lookup(lambda key: Receipt(number="9"))
    assert turn(run) is Outcome.ENDED
    assert RunRow.objects.get(pk=run.pk).output == "9"
    assert Misfit.objects.count() == 1


class TestElsewhere:
    """The body runs on another queue."""

    def test_what_was_not_promised_is_counted_once_it_is_heard(self, asking: Asking) -> None:
        _, run = asking({"number": 7}, queue="tools")
        turn(run)
        errand = Errand.objects.get()
        assert performing.perform(errand.pk, "wrk_tools")
        turn(run)
        assert RunRow.objects.get(pk=run.pk).output == "heard fatal"
        assert Misfit.objects.get().call_id == errand.pk
