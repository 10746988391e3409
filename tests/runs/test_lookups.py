"""What a lookup settles: a call that may have happened is sent again only where that can do no harm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from runs import engine, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.models import Step
from runs.steps import attempt
from tools.contract import IdempotencyKey
from tools.failures import Transient
from tools.models import ToolCall
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]


class Nothing(BaseModel):
    """No input."""


class Killed(BaseException):
    """The process ends here."""


def die(*_: Any, **__: Any) -> None:
    """Nobody hears what came of the call."""
    raise Killed


class Outside:
    """The other side: what was asked of it, what it did, and whether its lookup shows that."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.done: list[str] = []
        self.shows = True
        self.fails: type[BaseException] | None = Transient
        self.does_it = True

    def act(self, key: str) -> str:
        self.asked.append(key)
        if self.does_it and key not in self.done:
            self.done.append(key)
        if self.fails is not None:
            raise self.fails
        return "done"

    def look_up(self, key: str) -> str | None:
        if not self.shows:
            raise Transient("the other side does not answer")
        return "found" if key in self.done else None


@pytest.fixture
def outside() -> Outside:
    return Outside()


Begin = Callable[..., RunRow]


@pytest.fixture
def begin(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Start a run that makes one call, whose answer is lost."""

    def begin(effect: str, *, final: bool = False, killed: bool = False) -> RunRow:
        @tool(effect=effect, rollback="None")
        def change(*, key: IdempotencyKey) -> str:
            return outside.act(key)

        @change.lookup(final=final)
        def _(key: IdempotencyKey) -> str | None:
            return outside.look_up(key)

        @workflow.workflow("test.change")
        def changes(run: Run, nothing: Nothing) -> str:
            return run.tool(change)

        run = services.start_run("test.change", {}, actor="user:ana")
        if not killed:
            engine.advance(run.id, "wrk_first")
            return run
        with monkeypatch.context() as dying, pytest.raises(Killed):
            dying.setattr(attempt, "_failed", die)
            engine.advance(run.id, "wrk_lost")
        epoch = RunRow.objects.get(pk=run.pk).lease_epoch
        services.rescue_run(run.id, epoch, reason="it is gone", died=True, proven=False, alone=True)
        outside.fails = None
        return run

    return begin


def once_it_is_time(run: RunRow) -> Outcome:
    """One turn after everything that the run waits for is over."""
    past = db_now() - timedelta(seconds=1)
    Step.objects.exclude(due_at=None).update(due_at=past)
    Step.objects.exclude(not_before=None).update(not_before=past)
    RunRow.objects.filter(pk=run.pk).update(wake_at=past)
    services.wake_due(run.pk)
    return engine.advance(run.pk, "wrk_next")


def result_of(run: RunRow) -> str:
    run.refresh_from_db()
    return str(run.output) if run.state == "succeeded" else run.state


class TestAWrite:
    def test_what_the_lookup_finds_is_not_sent_again(self, begin: Begin, outside: Outside) -> None:
        run = begin("write")
        assert once_it_is_time(run) is Outcome.ENDED
        assert (result_of(run), len(outside.asked)) == ("found", 1)

    @pytest.mark.parametrize("shows", [True, False], ids=["not there", "no answer"])
    def test_without_a_trace_it_is_sent_again_with_its_key(
        self, begin: Begin, outside: Outside, shows: bool
    ) -> None:
        outside.does_it, outside.shows = False, shows
        run = begin("write")
        outside.fails = None
        assert once_it_is_time(run) is Outcome.ENDED
        assert (result_of(run), len(outside.asked), len(set(outside.asked))) == ("done", 2, 1)


class TestAnIrreversibleCall:
    def test_what_the_lookup_finds_needs_nobody(self, begin: Begin, outside: Outside) -> None:
        run = begin("irreversible")
        assert (result_of(run), len(outside.asked)) == ("found", 1)

    def test_a_lookup_that_is_not_final_proves_no_absence(self, begin: Begin, outside: Outside) -> None:
        outside.does_it = False
        run = begin("irreversible")
        assert (result_of(run), len(outside.asked)) == ("needs_attention", 1)
        assert ToolCall.objects.get().state == "unknown"

    def test_a_final_one_is_asked_again_once_the_call_cannot_arrive(
        self, begin: Begin, outside: Outside
    ) -> None:
        outside.does_it = False
        run = begin("irreversible", final=True)
        assert (result_of(run), len(outside.asked)) == ("waiting", 1)
        outside.done = list(outside.asked)  # it arrives late
        assert once_it_is_time(run) is Outcome.ENDED
        assert (result_of(run), len(outside.asked)) == ("found", 1)

    def test_with_final_proof_that_it_did_not_arrive_it_is_sent_again(
        self, begin: Begin, outside: Outside
    ) -> None:
        outside.does_it = False
        run = begin("irreversible", final=True)
        outside.fails = None
        assert once_it_is_time(run) is Outcome.ENDED
        assert (result_of(run), len(outside.asked), len(set(outside.asked))) == ("done", 2, 1)

    def test_without_an_answer_it_waits_and_asks_again(self, begin: Begin, outside: Outside) -> None:
        outside.does_it = False
        run = begin("irreversible", final=True)
        outside.shows = False
        assert once_it_is_time(run) is Outcome.WAITING
        assert (result_of(run), len(outside.asked)) == ("waiting", 1)
        outside.shows, outside.done = True, list(outside.asked)
        assert once_it_is_time(run) is Outcome.ENDED
        assert (result_of(run), len(outside.asked)) == ("found", 1)


class TestAfterItsWorkerWasLost:
    @pytest.mark.parametrize("effect", ["write", "irreversible"])
    def test_what_had_happened_is_found(self, begin: Begin, outside: Outside, effect: str) -> None:
        run = begin(effect, killed=True)
        assert once_it_is_time(run) is Outcome.ENDED
        assert (result_of(run), len(outside.asked)) == ("found", 1)

    @pytest.mark.parametrize(("final", "state"), [(True, "done"), (False, "needs_attention")])
    def test_the_irreversible_is_sent_again_on_final_proof_alone(
        self, begin: Begin, outside: Outside, final: bool, state: str
    ) -> None:
        outside.does_it = False
        run = begin("irreversible", final=final, killed=True)
        once_it_is_time(run)
        assert (result_of(run), len(outside.asked)) == (state, 2 if final else 1)

    def test_nothing_is_concluded_while_it_may_still_arrive(self, begin: Begin, outside: Outside) -> None:
        run = begin("irreversible", final=True, killed=True)
        assert engine.advance(run.pk, "wrk_next") is Outcome.WAITING
        assert ToolCall.objects.get().state == "started"
