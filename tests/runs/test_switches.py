"""The kill switch in the engine: what waits, what goes on, and what becomes of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from pydantic import BaseModel

from runs import engine, journal, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.errands import performing
from runs.models import Errand, ErrandState, JournalEntry, Step
from runs.models import Run as RunRow
from runs.replays.replay import replay_run
from runs.turns.checkpoint import own_transaction
from runs.turns.lease import claim
from tools import orders, switches
from tools.contract import IdempotencyKey, Tool
from tools.failures import Transient
from tools.models import ToolCall
from tools.registry import tool
from tools.switch import Switch, Waiting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]
OMAR = "user:omar"
WORKER = "wrk_test"


class Nothing(BaseModel):
    """No input."""


@pytest.fixture
def done() -> list[str]:
    """What was done outside, in order."""
    return []


@pytest.fixture
def write(done: list[str]) -> Tool:
    """A tool that changes the world."""

    @tool(effect="write", risk="low", rollback="None", name="test_write")
    def act(what: str, *, key: IdempotencyKey) -> str:
        done.append(what)
        return what

    return act


@pytest.fixture
def read(done: list[str]) -> Tool:
    """A tool that only looks."""

    @tool(effect="read", name="test_read")
    def look(what: str) -> str:
        done.append(what)
        return what

    return look


def started(function: Callable[[Run], Any], name: str = "test.switches") -> RunRow:
    @workflow.workflow(name)
    def flow(run: Run, nothing: Nothing) -> Any:
        return function(run)

    return services.start_run(name, {}, actor="user:ana")


def go(run: RunRow) -> Outcome:
    return engine.advance(run.pk, WORKER)


def chain_holds(run: RunRow) -> bool:
    run.refresh_from_db()
    return not list(journal.verify(run, run.journal.order_by("seq")))


def kill(kind: str, name: str = "") -> Switch:
    return switches.kill(kind, name, reason="They pay twice.", by=OMAR)


def release(switch: Switch, then: str = "resume") -> None:
    switches.release(switch.pk, then=then, reason="Repaired.", by=OMAR)


def test_it_works(write: Tool, read: Tool, done: list[str]) -> None:
    run = started(lambda run: [run.tool(read, "looked"), run.tool(write, "paid")])
    switch = kill("effect", "write")
    assert go(run) is Outcome.WAITING
    run.refresh_from_db()
    assert done == ["looked"], "writes are off, reads go on"
    assert run.waiting_for.startswith("the release of the switch on all writes, set by omar at ")
    assert run.waiting_for.endswith(" UTC: They pay twice.")
    assert not ToolCall.objects.filter(effect="write").exists()
    assert switches.waiting_runs(switch.pk) == 1
    release(switch)
    assert timers.let_released_go() == 1
    assert go(run) is Outcome.ENDED
    assert done == ["looked", "paid"]
    assert not Waiting.objects.exists()
    assert chain_holds(run)


@pytest.mark.parametrize(
    ("kind", "name", "stopped"),
    [
        ("everything", "", ("read", "write")),
        ("effect", "write", ("write",)),
        ("effect", "read", ("read",)),
        ("effect", "irreversible", ()),
        ("tool", "test_write", ("write",)),
        ("tool", "test_read", ("read",)),
        ("workflow", "test.switches", ("read", "write")),
        ("workflow", "support.refund", ()),
    ],
)
def test_a_switch_stops_what_it_names_and_nothing_else(
    read: Tool, write: Tool, kind: str, name: str, stopped: tuple[str, ...]
) -> None:
    runs = {"read": started(lambda run: run.tool(read, "r"))}
    kill(kind, name)
    assert (go(runs["read"]) is Outcome.WAITING) == ("read" in stopped)
    runs["write"] = started_again(lambda run: run.tool(write, "w"))
    assert (go(runs["write"]) is Outcome.WAITING) == ("write" in stopped)


def started_again(function: Callable[[Run], Any]) -> RunRow:
    workflow._registry.pop(("test.switches", 1))
    return started(function)


def test_a_run_that_is_left_is_paused_and_a_person_resumes_it(write: Tool, done: list[str]) -> None:
    run = started(lambda run: run.tool(write, "paid"))
    switch = kill("tool", "test_write")
    go(run)
    release(switch, "leave")
    timers.let_released_go()
    run.refresh_from_db()
    assert (run.state, run.stop_reason) == ("paused", "Repaired.")
    services.resume_run(run.pk, actor=OMAR, reason="Checked.")
    assert go(run) is Outcome.ENDED
    assert done == ["paid"]


def test_of_two_switches_each_must_be_released(write: Tool, done: list[str]) -> None:
    run = started(lambda run: run.tool(write, "paid"))
    first, second = kill("tool", "test_write"), kill("everything")
    go(run)
    release(first)
    timers.let_released_go()
    assert go(run) is Outcome.WAITING
    assert (switches.waiting_runs(first.pk), switches.waiting_runs(second.pk)) == (0, 1)
    release(second)
    timers.let_released_go()
    assert go(run) is Outcome.ENDED
    assert done == ["paid"]


def test_branches_that_are_not_stopped_go_on(write: Tool, read: Tool, done: list[str]) -> None:
    run = started(lambda run: run.gather(run.later(write, "paid"), run.later(read, "looked")))
    switch = kill("effect", "write")
    assert go(run) is Outcome.WAITING
    assert done == ["looked"]
    release(switch)
    timers.let_released_go()
    assert go(run) is Outcome.ENDED
    assert done == ["looked", "paid"]


def test_an_order_given_after_the_question_is_still_obeyed(
    write: Tool, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process believes for a second what it read; the statement of the intent does not."""
    run = started(lambda run: run.tool(write, "paid"))
    before = orders.read()
    monkeypatch.setattr(orders, "in_force", lambda max_age=1.0: before)
    kill("tool", "test_write")
    assert go(run) is Outcome.WAITING
    assert done == []
    assert not Step.objects.filter(run=run).exists()
    kinds = JournalEntry.objects.filter(run=run).values_list("kind", flat=True)
    assert "call.started" not in kinds
    assert chain_holds(run)


def test_an_order_about_something_else_delays_nothing(
    write: Tool, read: Tool, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(lambda run: run.tool(write, "paid"))
    before = orders.read()
    monkeypatch.setattr(orders, "in_force", lambda max_age=1.0: before)
    kill("tool", "test_read")
    assert go(run) is Outcome.ENDED
    assert done == ["paid"]


def test_another_attempt_waits_too(done: list[str]) -> None:
    @tool(effect="write", risk="low", rollback="None", name="test_busy")
    def busy(*, key: IdempotencyKey) -> str:
        done.append("tried")
        if len(done) == 1:
            raise Transient("busy")
        return "paid"

    run = started(lambda run: run.tool(busy))
    go(run)
    switch = kill("tool", "test_busy")
    due_now(run)
    assert go(run) is Outcome.WAITING
    assert done == ["tried"]
    release(switch)
    timers.let_released_go()
    assert go(run) is Outcome.ENDED
    assert done == ["tried", "tried"]
    assert ToolCall.objects.get(attempt=2).key == ToolCall.objects.get(attempt=1).key


def due_now(run: RunRow) -> None:
    past = run.created_at
    Step.objects.filter(run=run, state="waiting").update(due_at=past)
    RunRow.objects.filter(pk=run.pk).update(wake_at=past)
    timers.wake_due_runs()


def test_what_a_worker_of_another_queue_was_to_do_is_not_taken(done: list[str]) -> None:
    @tool(effect="write", risk="low", rollback="None", name="test_far", queue="tools")
    def far(*, key: IdempotencyKey) -> str:
        done.append("paid")
        return "paid"

    run = started(lambda run: run.tool(far))
    go(run)
    errand = Errand.objects.get()
    switch = kill("tool", "test_far")
    assert not performing.perform(errand.pk, WORKER)
    errand.refresh_from_db()
    assert (errand.state, done) == (ErrandState.WAITING, [])
    assert switches.waiting_runs(switch.pk) == 1
    release(switch)
    timers.let_released_go()
    errand.refresh_from_db()
    assert errand.wake_at is not None
    assert errand.wake_at <= db_now(), "it is hinted at once"
    assert performing.perform(errand.pk, WORKER)
    assert go(run) is Outcome.ENDED
    assert done == ["paid"]


def test_clean_up_waits_and_goes_on_whatever_the_release_says(write: Tool, done: list[str]) -> None:
    @workflow.workflow("test.cleaning", on_cancel=lambda run, nothing: run.tool(write, "tidied"))
    def flow(run: Run, nothing: Nothing) -> None:
        run.sleep(3600)

    run = services.start_run("test.cleaning", {}, actor="user:ana")
    go(run)
    switch = kill("effect", "write")
    services.cancel_run(run.pk, actor="user:ana", reason="Not needed.")
    assert go(run) is Outcome.WAITING
    run.refresh_from_db()
    assert (run.state, done) == ("cancelling", [])
    release(switch, "leave")
    timers.let_released_go()
    assert go(run) is Outcome.ENDED
    assert done == ["tidied"]


def test_what_is_under_way_is_said_in_words(write: Tool) -> None:
    seen: list[str] = []

    @tool(effect="write", risk="low", rollback="None", name="test_slow")
    def slow(*, key: IdempotencyKey) -> str:
        seen.append(switches.in_words(switches.under_way("effect", "write")))
        seen.append(switches.in_words(switches.under_way("tool", "test_write")))
        return "done"

    go(started(lambda run: run.tool(slow)))
    assert seen == [
        "1 call was begun before and ends and is recorded.",
        "Nothing that it stops is under way.",
    ]


def test_a_replay_without_effects_asks_nobody(read: Tool) -> None:
    run = started(lambda run: run.tool(read, "looked"))
    go(run)
    kill("everything")
    assert replay_run(run.pk).steps == 1


def test_a_run_that_ended_meanwhile_is_left_as_it_is(write: Tool) -> None:
    run = started(lambda run: run.tool(write, "paid"))
    switch = kill("effect", "write")
    go(run)
    services.cancel_run(run.pk, actor="user:ana", reason="Not needed.")
    go(run)
    assert switches.waiting_runs(switch.pk) == 0
    for then in ("resume", "leave"):
        release(switch, then)
        timers.let_released_go()
        switch = kill("effect", "write")
    run.refresh_from_db()
    assert run.state == "cancelled"


def test_a_turn_shares_the_orders_before_it_locks_its_run() -> None:
    """The order is switch, run; on SQLite a transaction is alone."""
    run = started(lambda run: None)
    turn = claim(run.pk, WORKER)
    assert turn is not None
    with own_transaction():
        turn.lock(under_orders=True)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT mode FROM pg_locks WHERE locktype = 'advisory' AND classid = 7021")
                assert cursor.fetchall() == [("ShareLock",)]
