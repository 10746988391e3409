"""Two transactions of PostgreSQL at once: what was read before a lock was waited for decides nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction

from runs import endings, engine, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Blob, Step
from runs.models import Run as RunRow
from runs.services import places, waking
from runs.turns import lease
from tests.in_turn import against
from tools.contract import IdempotencyKey
from tools.registry import tool

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
LARGE = "x" * 300_000


@pytest.fixture
def looks(open_gate: None) -> list[str]:
    """`rc.looks` looks once and sleeps; who looked."""
    seen: list[str] = []

    @tool(effect="read", name="rc_look")
    def look() -> str:
        seen.append(threading.current_thread().name)
        return "seen"

    @workflow.workflow("rc.looks")
    def flow(run: Run, case: dict[str, Any]) -> str:
        done = str(run.tool(look))
        run.sleep(3600)
        return done

    return seen


def start(name: str) -> RunRow:
    return services.start_run(name, {}, actor="user:ana")


# Claims


def test_a_claim_that_waited_for_another_turn_knows_what_that_turn_did(looks: list[str]) -> None:
    """The other worker claimed the run, looked, went to wait, and the run was woken again."""
    run = start("rc.looks")

    def another_turn() -> None:
        assert engine.advance(run.id, "wrk_b") is engine.Outcome.WAITING
        services.wake(services.lock_run(run.id))

    outcome = against(another_turn, lambda: engine.advance(run.id, "wrk_a"))
    run.refresh_from_db()
    assert (outcome, run.state) == (engine.Outcome.WAITING, "waiting"), run.output
    assert len(looks) == 1
    assert run.steps.count() == 2


def test_a_claim_that_waited_for_another_claim_leaves_the_run_alone(looks: list[str]) -> None:
    run = start("rc.looks")
    taken = against(lambda: lease.claim(run.id, "wrk_b"), lambda: lease.claim(run.id, "wrk_a"))
    assert taken is None
    assert RunRow.objects.get(pk=run.id).lease_owner == "wrk_b"


# Caretakers


def test_a_lease_that_is_renewed_while_a_caretaker_looks_is_left_alone(
    looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start("rc.looks")
    turn = lease.claim(run.id, "wrk_late")
    assert turn is not None
    RunRow.objects.filter(pk=run.id).update(lease_until=db_now() - timedelta(seconds=1))
    lock = waking.lock_run_unless_taken

    def renewed_first(run_id: str) -> RunRow | None:
        other = threading.Thread(target=_in_a_thread, args=(turn.commit,))
        other.start()
        other.join(20)
        return lock(run_id)

    monkeypatch.setattr(waking, "lock_run_unless_taken", renewed_first)
    rescued = timers.rescue_lost_runs()
    run.refresh_from_db()
    assert (rescued, run.state, run.lease_owner, run.crashes) == (0, "running", "wrk_late", 0)


def test_caretakers_share_the_runs_of_a_lost_worker(
    looks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """One that finds a run in another's hands goes on to the next instead of waiting."""
    runs = [start("rc.looks") for _ in range(3)]
    for run in runs:
        assert lease.claim(run.id, "wrk_lost") is not None
    RunRow.objects.update(lease_until=db_now() - timedelta(seconds=1))
    took: list[int] = []
    with transaction.atomic():
        services.lock_run(runs[0].id)
        other = threading.Thread(target=_in_a_thread, args=(lambda: took.append(timers.rescue_lost_runs()),))
        other.start()
        other.join(20)
        assert took == [2]
        # Whoever waits gives up at last, and says so.
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert timers.rescue_lost_runs() == 1
    assert not RunRow.objects.exclude(state="queued", crashes=1).exists()


# Places


def test_a_place_that_its_run_may_yet_take_back_is_not_given_away(
    looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run ends while places are given; whoever ended it dies before that place is handed on, and a person
    has the run tried again.
    """

    @tool(effect="read", name="rc_break")
    def break_down() -> str:
        raise ValueError("broken")

    @workflow.workflow("rc.one", at_most=1)
    def flow(run: Run, case: dict[str, Any]) -> str:
        return str(run.tool(break_down))

    one, two = start("rc.one"), start("rc.one")
    monkeypatch.setattr(endings, "_listeners", {})  # whoever ends it dies right after its commit
    before_counting(monkeypatch, "_take_back", lambda: engine.advance(one.id, "wrk_a"), after=True)
    again = lambda: services.retry_run(one.id, actor="user:omar", reason="once more")  # noqa: E731
    before_counting(monkeypatch, "_let_in", again)
    services.give_places("rc.one")
    if RunRow.objects.get(pk=one.id).state == "failed":
        again()
    let_in = RunRow.objects.filter(pk__in=[one.id, two.id], placed=True)
    assert let_in.count() == 1, "one at a time"


def before_counting(
    monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], Any], *, after: bool = False
) -> None:
    """Have somebody else `act`, on a connection of their own, right before (or after) the first time that
    places.`name` is done.
    """
    real, acts = getattr(places, name), [act]

    def done(*args: Any) -> None:
        if after:
            real(*args)
        if acts:
            other = threading.Thread(target=_in_a_thread, args=(acts.pop(),))
            other.start()
            other.join(20)
        if not after:
            real(*args)

    monkeypatch.setattr(places, name, done)


def _in_a_thread(act: Callable[[], Any]) -> None:
    try:
        act()
    finally:
        connections.close_all()


# Contents


@pytest.fixture
def large(open_gate: None) -> None:
    """`rc.large` keeps a large result, and reads it again after a sleep."""

    @tool(effect="read", name="rc_large")
    def read() -> str:
        return LARGE

    @workflow.workflow("rc.large")
    def flow(run: Run, case: dict[str, Any]) -> int:
        read_once = run.tool(read)
        run.sleep(0)
        return len(read_once)


def woken(run: RunRow) -> None:
    RunRow.objects.filter(pk=run.id, state="waiting").update(state="queued", wake_at=None)


def test_a_content_that_another_run_keeps_at_that_moment_is_not_emptied(large: None) -> None:
    old, young = start("rc.large"), start("rc.large")
    for _ in range(2):
        engine.advance(old.id, "wrk_a")
        woken(old)
    assert RunRow.objects.get(pk=old.id).state == "succeeded"

    against(lambda: engine.advance(young.id, "wrk_b"), lambda: services.purge_contents(old.id))
    step = Step.objects.get(run=young, kind="tool")
    assert bytes(Blob.objects.get(pk=step.blob).content or b"") != b"", "the young run holds it"
    woken(young)
    engine.advance(young.id, "wrk_b")
    young.refresh_from_db()
    assert (young.state, young.output) == ("succeeded", len(LARGE)), young.attention


def test_a_content_that_is_purged_from_two_runs_at_once_is_emptied(large: None) -> None:
    runs = [start("rc.large"), start("rc.large")]
    for run in runs:
        for _ in range(2):
            engine.advance(run.id, "wrk_a")
            woken(run)
    one, two = runs
    against(lambda: services.purge_contents(one.id), lambda: services.purge_contents(two.id))
    assert Blob.objects.get().content is None


# What others end


def test_the_end_of_a_child_is_not_written_over_by_the_end_of_its_parent(open_gate: None) -> None:
    @tool(effect="write", risk="low", name="rc_put", rollback="None")
    def put(*, key: IdempotencyKey) -> str:
        return "put"

    @workflow.workflow("rc.child")
    def child(run: Run, case: dict[str, Any]) -> str:
        return str(run.tool(put))

    @workflow.workflow("rc.parent", on_cancel=lambda run, case: None)
    def parent(run: Run, case: dict[str, Any]) -> str:
        return str(run.child(child, {}))

    run = start("rc.parent")
    engine.advance(run.id, "wrk_a")
    its = RunRow.objects.get(parent_id=run.id)
    services.cancel_run(run.id, actor="user:omar", reason="not needed")
    against(lambda: engine.advance(its.id, "wrk_b"), lambda: engine.advance(run.id, "wrk_a"))
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert run.steps.get(kind="child").state == "succeeded", "it had come to its end before"
