"""A breaker and a limit as a run meets them: it hears that a tool is away, or waits for its turn as a row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from pydantic import BaseModel

from runs import engine, gate, services, timers, workflow
from runs.agents.port import ToolFailed, Unavailable
from runs.clock import db_now
from runs.context import Run
from runs.gate import Go, Hold
from runs.models import Run as RunRow
from runs.models import Step
from tools import breakers, limits
from tools.contract import IdempotencyKey, Tool
from tools.failures import RateLimited, Transient
from tools.models import ToolCall
from tools.options import Breaker, Limit
from tools.protection import Ticket, ToolBreaker
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)
WORKER = "wrk_test"
OPTIONS = Breaker(least=2, rest=60)


class Case(BaseModel):
    """An input."""

    number: int = 1


class Gate:
    """Lets everything pass, or holds what changes the world until somebody says yes."""

    def __init__(self) -> None:
        self.asks, self.yes, self.opened = False, False, 0

    def review(self, call: gate.ProposedCall) -> gate.Verdict:
        held = self.asks and not self.yes and call.tool.effect.changes_the_world
        return Hold("a person", "asked") if held else Go("test")

    def open(self, call: gate.ProposedCall, hold: Hold) -> list[Any]:
        self.opened += 1
        return []

    def answer(self, call: gate.ProposedCall) -> gate.Verdict:
        return Go("test") if self.yes or not self.asks else Hold("a person")

    def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Any]:
        return []


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    breakers.forget()
    yield
    breakers.forget()


@pytest.fixture(autouse=True)
def gatekeeper(monkeypatch: pytest.MonkeyPatch) -> Gate:
    keeper = Gate()
    monkeypatch.setattr(gate, "_installed", keeper)
    return keeper


def start(name: str, **value: Any) -> RunRow:
    return services.start_run(name, value, actor="user:ana")


def go_on(run: RunRow) -> RunRow:
    """Another turn, as if its time had come."""
    RunRow.objects.filter(pk=run.pk, state="waiting").update(wake_at=db_now())
    Step.objects.filter(run=run, state="waiting").update(due_at=db_now())
    services.wake_due(run.pk)
    engine.advance(run.pk, WORKER)
    run.refresh_from_db()
    return run


def advance(run: RunRow) -> RunRow:
    engine.advance(run.pk, WORKER)
    run.refresh_from_db()
    return run


def trip(one: Tool) -> None:
    for number in range(2):
        breakers.observe(one, f"f{number}", Transient("down"), 0.1)
    assert ToolBreaker.objects.get(pk=one.name).state == "open"


def rest_is_over(one: Tool) -> None:
    ToolBreaker.objects.filter(pk=one.name).update(retry_at=db_now() - timedelta(seconds=1))
    breakers.forget()


@pytest.fixture
def reading() -> Tool:
    @tool(effect="read", name="test_rates", breaker=OPTIONS)
    def rates(number: int) -> int:
        asked.append(number)
        if number < 0:
            raise Transient("down")
        return number

    asked.clear()
    return rates


@pytest.fixture
def writing() -> Tool:
    @tool(effect="write", name="test_post", breaker=OPTIONS, limit=Limit(at_once=1))
    def post(number: int, *, key: IdempotencyKey) -> str:
        asked.append(number)
        return key

    asked.clear()
    return post


asked: list[int] = []


def calling(one: Tool, name: str) -> None:
    @workflow.workflow(name)
    def call(run: Run, case: Case) -> str:
        try:
            return str(run.tool(one, case.number))
        except Unavailable as away:
            run.sleep(1)
            return f"{away.failure.kind}"
        except ToolFailed as failed:
            return f"failed: {failed.failure.kind}"


class TestBreaker:
    def test_an_open_one_is_heard_at_once_and_the_same_on_every_replay(self, reading: Tool) -> None:
        calling(reading, "test.rates")
        trip(reading)
        run = advance(start("test.rates"))
        step = run.steps.get(kind="tool")
        assert (step.state, step.error["kind"], step.attempt) == ("failed", "unavailable", 1)
        rest_is_over(reading)  # what was heard stays heard
        assert go_on(run).output == "unavailable"
        assert asked == []
        assert not ToolCall.objects.exists()

    def test_nobody_is_asked_about_a_call_that_cannot_be_made(self, writing: Tool, gatekeeper: Gate) -> None:
        calling(writing, "test.post")
        gatekeeper.asks = True
        trip(writing)
        run = advance(start("test.post"))
        assert run.steps.get(kind="tool").error["kind"] == "unavailable"
        assert gatekeeper.opened == 0

    def test_an_approved_call_waits_and_its_yes_stays(self, writing: Tool, gatekeeper: Gate) -> None:
        calling(writing, "test.post")
        gatekeeper.asks = True
        run = advance(start("test.post"))
        assert gatekeeper.opened == 1
        gatekeeper.yes = True
        trip(writing)
        services.have_it_look(run.pk)
        advance(run)
        assert (run.state, run.steps.get(kind="tool").state, asked) == ("waiting", "held", [])
        assert "test_post is not called for now" in run.waiting_for
        rest_is_over(writing)
        assert go_on(run).state == "succeeded"
        assert asked == [1]
        assert ToolBreaker.objects.get().state == "closed"
        assert not Ticket.objects.exists()

    def test_the_call_that_goes_out_to_see_closes_it(self, reading: Tool) -> None:
        calling(reading, "test.rates")
        trip(reading)
        rest_is_over(reading)
        assert advance(start("test.rates")).output == "1"
        assert ToolBreaker.objects.get().state == "closed"

    def test_a_read_that_opened_it_burns_no_further_attempt(self, reading: Tool) -> None:
        calling(reading, "test.rates")
        breakers.observe(reading, "other", Transient("down"), 0.1)
        run = advance(start("test.rates", number=-1))
        step = run.steps.get(kind="tool")
        assert (step.state, step.error["kind"], step.attempt) == ("failed", "unavailable", 1)
        assert asked == [-1]

    def test_a_write_in_doubt_waits_for_the_rest_and_goes_on_with_its_key(self) -> None:
        keys: list[str] = []

        @tool(effect="write", name="test_doubt", breaker=OPTIONS)
        def doubt(number: int, *, key: IdempotencyKey) -> str:
            keys.append(key)
            if len(keys) == 1:
                raise TimeoutError("no answer")
            return key

        calling(doubt, "test.doubt")
        breakers.observe(doubt, "other", Transient("down"), 0.1)
        run = advance(start("test.doubt"))
        assert run.steps.get(kind="tool").state == "waiting"
        go_on(run)
        step = run.steps.get(kind="tool")
        assert (run.state, step.state, step.attempt, len(keys)) == ("waiting", "waiting", 1, 1)
        rest_is_over(doubt)
        assert go_on(run).state == "succeeded"
        assert keys[0] == keys[1]


class TestLimit:
    def test_calls_over_it_wait_as_rows_and_are_called_up(self, writing: Tool) -> None:
        calling(writing, "test.post")
        held = limits.reserve(writing, "somebody else's", "run_other")
        assert held is None
        run = advance(start("test.post"))
        assert (run.state, asked) == ("waiting", [])
        assert "1 calls of Test post are under way" in run.waiting_for
        assert not run.steps.filter(kind="tool").exists()
        assert not ToolCall.objects.exists()
        limits.give_back(writing, "somebody else's")
        run.refresh_from_db()
        assert run.state == "queued"  # its turn: no clock was waited for
        assert advance(run).state == "succeeded"
        assert not Ticket.objects.exists()

    def test_a_run_that_was_cancelled_in_line_keeps_nobody_waiting(self, writing: Tool) -> None:
        calling(writing, "test.post")
        assert limits.reserve(writing, "somebody else's", "run_other") is None
        first, second = advance(start("test.post")), advance(start("test.post"))
        services.cancel_run(first.pk, actor="user:omar", reason="not needed")
        engine.advance(first.pk, WORKER)
        limits.give_back(writing, "somebody else's")
        assert advance(second).state == "succeeded"

    def test_retry_after_holds_back_every_call(self) -> None:
        @tool(effect="read", name="test_limited", limit=Limit(per_second=100, burst=100))
        def limited(number: int) -> int:
            asked.append(number)
            if number == 13:
                raise RateLimited("too much", retry_after=600)
            return number

        asked.clear()
        calling(limited, "test.limited")
        advance(start("test.limited", number=13))
        run = advance(start("test.limited", number=1))
        assert (run.state, asked) == ("waiting", [13])
        assert run.wake_at is not None
        assert run.wake_at > db_now() + timedelta(seconds=500)

    def test_a_body_that_fails_gives_its_place_back(self) -> None:
        @tool(effect="read", name="test_fails", limit=Limit(at_once=1))
        def fails(number: int) -> int:
            raise ValueError("a defect")

        calling(fails, "test.fails")
        assert advance(start("test.fails")).output == "failed: fatal"
        assert not Ticket.objects.exists()

    def test_branches_share_it(self, writing: Tool) -> None:
        @workflow.workflow("test.both")
        def both(run: Run, case: Case) -> list[str]:
            return list(run.gather(run.later(writing, 1), run.later(writing, 2), run.later(writing, 3)))

        run = advance(start("test.both"))
        for _ in range(6):
            if run.state == "succeeded":
                break
            run = go_on(run)
        assert run.state == "succeeded"
        assert sorted(asked) == [1, 2, 3]
        assert not Ticket.objects.exists()

    def test_a_caretaker_calls_up_who_was_forgotten(self, writing: Tool) -> None:
        calling(writing, "test.post")
        assert limits.reserve(writing, "somebody else's", "run_other") is None
        run = advance(start("test.post"))
        Ticket.objects.filter(run_id="run_other").delete()
        assert timers.sweep()["tools.line"] == 1
        assert advance(run).state == "succeeded"


def test_a_limit_that_cannot_be_read_fails_no_run(writing: Tool) -> None:
    calling(writing, "test.post")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tools_toollimit RENAME TO tools_toollimit_away")
    try:
        run = start("test.post")
        engine.advance(run.pk, WORKER)
        run.refresh_from_db()
        assert run.state == "running"  # left to the next worker, as when the whole database is away
        assert asked == []
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE tools_toollimit_away RENAME TO tools_toollimit")
