"""A worker that was asked to end gives its runs back at once, and loses nothing of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from runs import engine, journal, messages, services, tasks, workflow
from runs.clock import ticks
from runs.context import Run
from runs.crew import workers
from runs.engine import Outcome
from runs.errands import performing
from runs.gate import Go, Hold, ProposedCall, Refuse, Verdict
from runs.journal import Entry
from runs.models import Errand, Step
from runs.models import Run as RunRow
from tools.contract import IdempotencyKey
from tools.models import ToolCall
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]


class Nothing(BaseModel):
    """No input."""


@pytest.fixture
def ending() -> Iterator[Any]:
    """Calling it is the SIGTERM."""
    yield workers.leave_soon
    workers._leaving[0] = 0


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str], str]]:
    sent: list[tuple[str, dict[str, str], str]] = []

    def send(task: str, kwargs: dict[str, str], queue: str, priority: int) -> bool:
        sent.append((task, kwargs, queue))
        return True

    monkeypatch.setattr(messages, "_send", send)
    return sent


def start(function: Any) -> RunRow:
    @workflow.workflow("test.handing")
    def flow(run: Run, nothing: Nothing) -> Any:
        return function(run)

    return services.start_run("test.handing", {}, actor="user:ana")


def reread(run: RunRow) -> RunRow:
    row = RunRow.objects.get(pk=run.pk)
    assert list(journal.verify(row, row.journal.order_by("seq"))) == []
    return row


def stay() -> None:
    workers._leaving[0] = 0


def test_what_is_done_is_kept_and_nothing_new_is_begun(ending: Any, hints: list[Any]) -> None:
    seen: list[str] = []

    @tool(effect="read")
    def look(name: str) -> str:
        seen.append(name)
        if name == "b":
            ending()
        return name

    @tool(effect="irreversible")
    def send(*, key: IdempotencyKey) -> str:
        seen.append("send")
        return "sent"

    run = start(lambda run: [run.tool(look, "a"), run.random(), run.tool(look, "b"), run.tool(send)][3])
    hints.clear()
    assert engine.advance(run.pk, "wrk_old") is Outcome.HANDED_OVER
    row = reread(run)
    assert (row.state, row.lease_owner, row.lease_until, row.crashes) == ("queued", "", None, 0)
    assert row.wake_at is not None
    assert seen == ["a", "b"]
    assert [step.state for step in Step.objects.all()] == ["succeeded"] * 3
    assert hints == [(messages.ADVANCE, {"run_id": run.pk}, "runs")]
    stay()
    assert engine.advance(run.pk, "wrk_new") is Outcome.ENDED
    assert (reread(run).output, seen) == ("sent", ["a", "b", "send"])


def test_one_that_is_claimed_too_late_goes_back_untouched(ending: Any) -> None:
    @tool(effect="read")
    def look() -> str:
        return "seen"

    run = start(lambda run: run.tool(look))
    ending()
    assert engine.advance(run.pk, "wrk_old") is Outcome.HANDED_OVER
    assert not Step.objects.exists()
    stay()
    assert engine.advance(run.pk, "wrk_new") is Outcome.ENDED


def test_branches_end_what_changes_the_world_and_begin_nothing(ending: Any) -> None:
    seen: list[str] = []

    @tool(effect="write")
    def put(number: int, *, key: IdempotencyKey) -> int:
        seen.append(f"{number} {key}")
        if number < 10:
            ending()
        return number

    run = start(lambda run: run.gather(*[run.later(both, number) for number in range(4)]))

    def both(run: Run, number: int) -> int:
        return run.tool(put, number) + run.tool(put, number + 10)

    assert engine.advance(run.pk, "wrk_old") is Outcome.HANDED_OVER
    begun = Step.objects.filter(kind="tool", state="succeeded").count()
    assert len(seen) == begun >= 1
    assert not Step.objects.filter(kind="tool", state="started").exists(), "none is half done"
    assert not ToolCall.objects.filter(state="started").exists()
    stay()
    while reread(run).state == "queued":
        engine.advance(run.pk, "wrk_new")
        stay()
    assert reread(run).output == [10, 12, 14, 16]
    assert len(seen) == len(set(seen)) == 8


class HoldingGate:
    """Asks a person about everything."""

    def review(self, call: ProposedCall) -> Verdict:
        workers.leave_soon()
        return Hold(policy="test")

    def open(self, call: ProposedCall, hold: Hold) -> list[Entry]:
        return []

    def answer(self, call: ProposedCall) -> Verdict:
        return Go(policy="test") if not workers.leaving() else Refuse("policy", "no")

    def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Entry]:
        return []


def test_nobody_is_asked_by_a_worker_that_goes(ending: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the held call had put together is forgotten, not written half."""
    monkeypatch.setattr("runs.gate._installed", HoldingGate())

    @tool(effect="write")
    def put(*, key: IdempotencyKey) -> str:
        return "put"

    run = start(lambda run: [run.random(), run.tool(put)])
    assert engine.advance(run.pk, "wrk_old") is Outcome.HANDED_OVER
    assert not ToolCall.objects.exists()
    assert not Step.objects.filter(kind="tool").exists()
    assert reread(run).state == "queued"


def test_an_errand_is_left_to_another_worker(ending: Any, hints: list[Any]) -> None:
    @tool(effect="read", queue="tools")
    def weigh() -> int:
        return 3

    run = start(lambda run: run.tool(weigh))
    engine.advance(run.pk, "wrk_turns")
    hints.clear()
    ending()
    errand = Errand.objects.get()
    assert not performing.perform(errand.pk, "wrk_tools")
    assert Errand.objects.get().state == "waiting"
    assert hints == [(messages.PERFORM, {"call_id": errand.pk}, "tools")]


class TestUnheard:
    """A worker whose heartbeat is not taken may be thought gone: it begins nothing that changes the world."""

    @pytest.fixture(autouse=True)
    def unheard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        long_ago = ticks() - workers.UNHEARD - 1
        here = SimpleNamespace(id="wrk_here", pid=os.getpid(), heard_at=long_ago, holds=True)
        monkeypatch.setattr(workers, "_here", here)

    @pytest.mark.parametrize("effect", ["write", "irreversible"])
    def test_it_begins_no_effect(self, effect: str) -> None:
        seen: list[str] = []

        @tool(effect=effect)
        def put(*, key: IdempotencyKey) -> str:
            seen.append(key)
            return "put"

        run = start(lambda run: run.tool(put))
        assert engine.advance(run.pk, workers.this_worker().id) is Outcome.FENCED
        assert seen == []
        assert not Step.objects.exists(), "so that nobody must wait for a call that was never sent"
        epoch = RunRow.objects.get(pk=run.pk).lease_epoch
        services.rescue_run(run.pk, epoch, reason="its lock is free", died=True, proven=False, alone=False)
        workers.this_worker().heard_at = ticks()
        assert engine.advance(run.pk, "wrk_next") is Outcome.ENDED
        assert len(seen) == 1

    def test_it_reads_on(self) -> None:
        @tool(effect="read")
        def look() -> str:
            return "seen"

        run = start(lambda run: run.tool(look))
        assert engine.advance(run.pk, workers.this_worker().id) is Outcome.ENDED

    def test_it_takes_no_errand(self) -> None:
        @tool(effect="read", queue="tools")
        def weigh() -> int:
            return 3

        run = start(lambda run: run.tool(weigh))
        engine.advance(run.pk, "wrk_turns")
        assert not performing.perform(Errand.objects.get().pk, workers.this_worker().id)


def test_one_that_has_lost_its_lock_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others would take it from it at once, and count three of those as deaths of the run."""
    here = SimpleNamespace(id="wrk_here", pid=os.getpid(), heard_at=ticks(), holds=False)
    monkeypatch.setattr(workers, "_here", here)

    @tool(effect="read", queue="tools")
    def weigh() -> int:
        return 3

    run = start(lambda run: run.tool(weigh))
    tasks.advance(run_id=run.pk)
    assert (reread(run).state, reread(run).lease_epoch) == ("queued", 0)
    here.holds = True
    tasks.advance(run_id=run.pk)
    assert reread(run).state == "waiting"
    here.holds = False
    assert not performing.perform(Errand.objects.get().pk, "wrk_here")
    here.holds = True
    assert performing.perform(Errand.objects.get().pk, "wrk_here")
