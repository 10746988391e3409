"""Tools with a queue of their own: the body runs elsewhere, everything else stays in the turn."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from pydantic import BaseModel

from runs import engine, journal, messages, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.errands import performing
from runs.models import Errand, ErrandState, Step, Worker
from runs.models import Run as RunRow
from runs.pages import queries
from runs.services import MAX_CRASHES
from tools.contract import IdempotencyKey
from tools.failures import Refused, Transient
from tools.models import CallState, ToolCall
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]
QUEUE = "tools"


class Nothing(BaseModel):
    """No input."""


@pytest.fixture(autouse=True)
def hints(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The hints that went out for errands: id and queue."""
    sent: list[tuple[str, str]] = []

    def send(task: str, kwargs: dict[str, str], queue: str, priority: int) -> bool:
        if task == messages.PERFORM:
            sent.append((kwargs["call_id"], queue))
        return True

    monkeypatch.setattr(messages, "_send", send)
    return sent


Starter = Callable[..., RunRow]


@pytest.fixture
def run_of() -> Starter:
    """Starts a run of the given function."""

    def start(function: Callable[[Run], Any]) -> RunRow:
        @workflow.workflow("test.errands")
        def flow(run: Run, nothing: Nothing) -> Any:
            return function(run)

        return services.start_run("test.errands", {}, actor="user:ana")

    return start


def turn(run: RunRow, worker: str = "wrk_turns") -> Outcome:
    return engine.advance(run.pk, worker)


def reread(run: RunRow) -> RunRow:
    row = RunRow.objects.get(pk=run.pk)
    assert list(journal.verify(row, row.journal.order_by("seq"))) == []
    return row


def kinds(run: RunRow) -> list[str]:
    return list(run.journal.order_by("seq").values_list("kind", flat=True))


def lease_is_over(errand: Errand) -> None:
    past = db_now() - timedelta(seconds=1)
    Errand.objects.filter(pk=errand.pk).update(lease_until=past)


def late_calls_arrived(run: RunRow) -> None:
    """The moment has passed until which a lost call may still arrive."""
    past = db_now() - timedelta(hours=1)
    Step.objects.filter(run=run).exclude(not_before=None).update(not_before=past)
    RunRow.objects.filter(pk=run.pk, state="waiting").update(wake_at=past)
    timers.wake_due_runs()


def test_it_works(run_of: Starter, hints: list[tuple[str, str]]) -> None:
    seen: list[str] = []

    @tool(effect="read", queue=QUEUE)
    def weigh(name: str) -> int:
        seen.append(name)
        return len(name)

    run = run_of(lambda run: run.tool(weigh, "gold"))
    assert turn(run) is Outcome.WAITING
    row = reread(run)
    assert (row.state, row.waiting_for, seen) == ("waiting", "a worker on queue tools", [])
    errand = Errand.objects.get()
    assert hints == [(errand.pk, QUEUE)]

    assert performing.perform(errand.pk, "wrk_tools")
    assert seen == ["gold"]
    assert reread(run).state == "queued", "the answer woke it"
    assert turn(run) is Outcome.ENDED
    assert reread(run).output == 4
    errand.refresh_from_db()
    assert (errand.state, errand.outcome) == (ErrandState.READ, None)
    assert ToolCall.objects.get().state == CallState.SUCCEEDED
    assert not performing.perform(errand.pk, "wrk_tools"), "a doubled hint"
    assert seen == ["gold"]


def test_a_tool_of_the_runs_own_queue_stays_in_place(run_of: Starter) -> None:
    @tool(effect="read", queue="runs")
    def weigh() -> int:
        return 1

    assert turn(run_of(lambda run: run.tool(weigh))) is Outcome.ENDED
    assert not Errand.objects.exists()


def test_an_answer_before_the_turn_has_gone_to_wait(run_of: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    @tool(effect="write", queue=QUEUE)
    def put(*, key: IdempotencyKey) -> str:
        return key

    def at_once(task: str, kwargs: dict[str, str], queue: str, priority: int) -> bool:
        return task == messages.PERFORM and performing.perform(kwargs["call_id"], "wrk_quick")

    monkeypatch.setattr(messages, "_send", at_once)
    run = run_of(lambda run: run.tool(put))
    assert turn(run) is Outcome.ENDED
    assert reread(run).output == Step.objects.get().key


def test_what_fails_elsewhere_is_decided_as_in_place(run_of: Starter) -> None:
    tried: list[str] = []

    @tool(effect="read", queue=QUEUE)
    def flaky() -> str:
        tried.append("")
        raise Transient("come back", retry_after=7.0)

    run = run_of(lambda run: run.tool(flaky))
    turn(run)
    performing.perform(Errand.objects.get().pk, "wrk_tools")
    assert turn(run) is Outcome.WAITING
    step = Step.objects.get()
    assert step.state == "waiting"
    assert step.due_at is not None and step.due_at > db_now() + timedelta(seconds=5), "its Retry-After"
    assert ToolCall.objects.get().failure_class == "transient"


def test_a_refusal_elsewhere_is_a_refusal(run_of: Starter) -> None:
    @tool(effect="irreversible", queue=QUEUE)
    def send(*, key: IdempotencyKey) -> str:
        raise Refused("not to this address")

    def flow(run: Run) -> str:
        try:
            return run.tool(send)
        except Refused as no:
            return no.reason

    run = run_of(flow)
    turn(run)
    performing.perform(Errand.objects.get().pk, "wrk_tools")
    assert turn(run) is Outcome.ENDED
    assert reread(run).output == "not to this address"
    assert ToolCall.objects.get().state == CallState.REFUSED


def test_an_effect_that_fails_without_proof_is_unknown(run_of: Starter) -> None:
    @tool(effect="irreversible", queue=QUEUE)
    def send(*, key: IdempotencyKey) -> str:
        raise OSError("the line went dead")

    run = run_of(lambda run: run.tool(send))
    turn(run)
    errand = Errand.objects.get()
    performing.perform(errand.pk, "wrk_tools")
    assert turn(run) is Outcome.NEEDS_ATTENTION
    call = ToolCall.objects.get()
    assert call.state == CallState.UNKNOWN
    assert call.not_before is not None and call.not_before > db_now()


class TestLost:
    """Its worker is gone, or out of time."""

    @pytest.fixture
    def seen(self) -> list[str]:
        return []

    def lose(self, run: RunRow, *, proven: bool) -> Errand:
        """A worker takes the errand and is not heard of again."""
        errand = Errand.objects.get(state=ErrandState.WAITING)
        here, gone = db_now(), "0"
        Worker.objects.get_or_create(
            pk="wrk_gone",
            defaults={
                "host": multiprocessing.current_process().name,
                "pid": 1,
                "process_started": gone,
                "queues": QUEUE,
                "pool": "prefork",
                "started_at": here,
                "beat_at": here,
                "stopped_at": here,
            },
        )
        assert services.take_errand(errand.pk, "wrk_gone" if proven else "wrk_unheard") is not None
        if not proven:
            lease_is_over(errand)
        assert timers.find_lost_errands() == 1
        assert reread(run).state == "queued"
        return errand

    def test_a_read_is_done_again_at_once(self, run_of: Starter, seen: list[str]) -> None:
        @tool(effect="read", queue=QUEUE)
        def weigh() -> int:
            seen.append("")
            return 3

        run = run_of(lambda run: run.tool(weigh))
        turn(run)
        lost = self.lose(run, proven=False)
        assert turn(run) is Outcome.WAITING
        lost.refresh_from_db()
        assert lost.state == ErrandState.LOST
        again = Errand.objects.get(state=ErrandState.WAITING)
        performing.perform(again.pk, "wrk_tools")
        assert turn(run) is Outcome.ENDED
        assert (reread(run).output, len(seen)) == (3, 1)
        assert reread(run).crashes == 0, "progress"

    @pytest.mark.parametrize("proven", [True, False])
    def test_a_write_waits_while_it_may_still_arrive(
        self, run_of: Starter, seen: list[str], proven: bool
    ) -> None:
        @tool(effect="write", queue=QUEUE)
        def put(*, key: IdempotencyKey) -> str:
            seen.append(key)
            return key

        run = run_of(lambda run: run.tool(put))
        turn(run)
        self.lose(run, proven=proven)
        assert turn(run) is Outcome.WAITING
        assert Errand.objects.filter(state=ErrandState.WAITING).count() == int(proven)
        if not proven:
            # The run's own worker dying says nothing about the errand's.
            Step.objects.get().refresh_from_db()
            late_calls_arrived(run)
            assert turn(run) is Outcome.WAITING
        performing.perform(Errand.objects.get(state=ErrandState.WAITING).pk, "wrk_tools")
        assert turn(run) is Outcome.ENDED
        assert seen == [Step.objects.get().key]

    def test_what_cannot_be_undone_is_left_to_a_person(self, run_of: Starter) -> None:
        @tool(effect="irreversible", queue=QUEUE)
        def send(*, key: IdempotencyKey) -> str:
            raise AssertionError

        run = run_of(lambda run: run.tool(send))
        turn(run)
        self.lose(run, proven=True)
        assert turn(run) is Outcome.WAITING, "also where the process is gone for certain"
        late_calls_arrived(run)
        assert turn(run) is Outcome.NEEDS_ATTENTION
        assert reread(run).attention["code"] == "unknown_outcome"

    def test_a_late_answer_changes_nothing_and_is_noted(self, run_of: Starter) -> None:
        @tool(effect="write", queue=QUEUE)
        def put(*, key: IdempotencyKey) -> str:
            return key

        run = run_of(lambda run: run.tool(put))
        turn(run)
        errand = Errand.objects.get()
        taken = services.take_errand(errand.pk, "wrk_slow")
        assert taken is not None
        lease_is_over(errand)
        timers.find_lost_errands()
        turn(run)
        before = (Step.objects.values().get(), ToolCall.objects.values().get())
        assert not services.answer_errand(errand.pk, "wrk_slow", performing.Outcome(result="late"))
        assert (Step.objects.values().get(), ToolCall.objects.values().get()) == before
        assert kinds(reread(run)).count("call.late") == 1
        errand.refresh_from_db()
        assert (errand.state, errand.outcome) == (ErrandState.LOST, None)

    @pytest.mark.parametrize("read", [False, True])
    def test_an_answer_whose_commit_was_not_heard_of_is_not_late(
        self, run_of: Starter, monkeypatch: pytest.MonkeyPatch, read: bool
    ) -> None:
        """The database committed it, and the connection broke before it could say so: it is tried again."""

        @tool(effect="write", queue=QUEUE)
        def put(*, key: IdempotencyKey) -> str:
            return key

        run = run_of(lambda run: run.tool(put))
        turn(run)
        tries: list[bool] = []

        def answer(*told: Any) -> bool:
            tries.append(services.answer_errand(*told))
            if len(tries) == 1:
                if read:
                    turn(run)
                raise OperationalError("server closed the connection unexpectedly")
            return tries[-1]

        monkeypatch.setattr(performing, "answer_errand", answer)
        monkeypatch.setattr(performing, "TRY_AGAIN", 0.0)
        assert performing.perform(Errand.objects.get().pk, "wrk_tools")
        assert tries == [True, True]
        assert turn(run) is (Outcome.NOT_READY if read else Outcome.ENDED)
        row = reread(run)
        assert (row.state, kinds(row).count("call.late"), kinds(row).count("call.succeeded")) == (
            "succeeded",
            0,
            1,
        )

    def test_another_worker_cannot_answer_it(self, run_of: Starter) -> None:
        @tool(effect="read", queue=QUEUE)
        def weigh() -> int:
            return 3

        run = run_of(lambda run: run.tool(weigh))
        turn(run)
        errand = Errand.objects.get()
        services.take_errand(errand.pk, "wrk_one")
        assert services.take_errand(errand.pk, "wrk_two") is None
        assert not services.answer_errand(errand.pk, "wrk_two", performing.Outcome(result=5))
        assert services.answer_errand(errand.pk, "wrk_one", performing.Outcome(result=3))
        assert turn(run) is Outcome.ENDED
        assert reread(run).output == 3

    def test_three_deaths_at_a_step_are_enough(self, run_of: Starter) -> None:
        @tool(effect="read", queue=QUEUE)
        def poison() -> int:
            raise AssertionError

        run = run_of(lambda run: run.tool(poison))
        turn(run)
        for _ in range(MAX_CRASHES - 1):
            self.lose(run, proven=True)
            assert turn(run) is Outcome.WAITING
        self.lose(run, proven=True)
        assert turn(run) is Outcome.NEEDS_ATTENTION
        row = reread(run)
        assert (row.attention["code"], row.crashes) == ("poison", MAX_CRASHES)
        assert kinds(row).count("errand.lost") == MAX_CRASHES
        services.resume_run(run.pk, actor="user:omar", reason="the machine had no memory left")
        assert turn(run) is Outcome.WAITING
        assert Errand.objects.filter(state=ErrandState.WAITING).count() == 1


class TestHints:
    def test_a_lost_one_is_sent_again_where_somebody_listens(
        self, run_of: Starter, hints: list[tuple[str, str]]
    ) -> None:
        @tool(effect="read", queue=QUEUE)
        def weigh() -> int:
            return 3

        run = run_of(lambda run: run.tool(weigh))
        turn(run)
        hints.clear()
        assert timers.hint_errands_again() == 0, "not yet"
        Errand.objects.update(wake_at=db_now())
        assert timers.hint_errands_again() == 0, "nobody listens, so nothing piles up"
        now = db_now()
        Worker.objects.create(
            pk="wrk_there",
            host="elsewhere",
            pid=1,
            process_started="1",
            queues=QUEUE,
            pool="prefork",
            started_at=now,
            beat_at=now,
        )
        assert timers.hint_errands_again() == 1
        assert hints == [(Errand.objects.get().pk, QUEUE)]
        assert timers.hint_errands_again() == 0

    def test_a_run_that_stands_still_begins_nothing(self, run_of: Starter) -> None:
        @tool(effect="read", queue=QUEUE)
        def weigh() -> int:
            return 3

        run = run_of(lambda run: run.tool(weigh))
        turn(run)
        services.pause_run(run.pk, actor="user:omar", reason="wait")
        errand = Errand.objects.get()
        assert not performing.perform(errand.pk, "wrk_tools")
        services.resume_run(run.pk, actor="user:omar", reason="go on")
        turn(run)
        assert performing.perform(errand.pk, "wrk_tools")
        assert turn(run) is Outcome.ENDED

    def test_what_this_worker_does_not_have_is_left_to_another(self, run_of: Starter) -> None:
        @tool(effect="read", queue=QUEUE, version=2)
        def weigh() -> int:
            return 3

        run = run_of(lambda run: run.tool(weigh))
        turn(run)
        ToolCall.objects.update(version=3)
        assert not performing.perform(Errand.objects.get().pk, "wrk_tools")
        assert Errand.objects.get().state == ErrandState.WAITING

    def test_what_was_asked_for_under_an_earlier_version_is_asked_for_anew(self, run_of: Starter) -> None:
        @tool(effect="read", queue=QUEUE, version=2)
        def weigh() -> int:
            return 3

        run = run_of(lambda run: run.tool(weigh))
        turn(run)
        ToolCall.objects.update(version=1)
        assert performing.perform(Errand.objects.get().pk, "wrk_tools")
        assert turn(run) is Outcome.WAITING
        first = ToolCall.objects.get()
        assert (first.state, "not begun under an earlier one" in first.error) == ("failed", True)
        Step.objects.update(due_at=run.created_at)
        services.wake(services.found_run(run.pk))
        turn(run)
        again = Errand.objects.get(state=ErrandState.WAITING)
        assert performing.perform(again.pk, "wrk_tools")
        assert turn(run) is Outcome.ENDED
        assert reread(run).output == 3


class TestBranches:
    """Several errands are under way at once; those of a branch that lost are given up."""

    @pytest.fixture
    def tools(self) -> Iterator[dict[str, Any]]:
        @tool(effect="read", queue=QUEUE)
        def weigh(number: int) -> int:
            return number * 10

        @tool(effect="write", queue=QUEUE)
        def put(number: int, *, key: IdempotencyKey) -> int:
            return number

        @tool(effect="read")
        def quick() -> str:
            return "quick"

        yield {"weigh": weigh, "put": put, "quick": quick}

    def test_all_are_sent_together(
        self, run_of: Starter, tools: dict[str, Any], hints: list[tuple[str, str]]
    ) -> None:
        run = run_of(lambda run: run.gather(*[run.later(tools["weigh"], n) for n in range(40)]))
        assert turn(run) is Outcome.WAITING
        assert len(hints) == Errand.objects.count() == 40
        for errand in Errand.objects.all():
            assert performing.perform(errand.pk, "wrk_tools")
        assert turn(run) is Outcome.ENDED
        assert reread(run).output == [n * 10 for n in range(40)]

    def test_what_was_not_begun_is_cancelled(self, run_of: Starter, tools: dict[str, Any]) -> None:
        run = run_of(lambda run: run.race(run.later(tools["put"], 1), run.later(tools["quick"]))[1])
        assert turn(run) is Outcome.ENDED
        row = reread(run)
        assert row.output == "quick"
        errand = Errand.objects.get()
        assert errand.state == ErrandState.LOST
        assert ToolCall.objects.get(pk=errand.pk).state == CallState.CANCELLED
        assert Step.objects.get(name="put").state == "cancelled"
        assert not performing.perform(errand.pk, "wrk_tools")

    def test_a_write_under_way_is_unknown_until_its_worker_answers(
        self, run_of: Starter, tools: dict[str, Any]
    ) -> None:
        run = run_of(lambda run: run.race(run.later(tools["put"], 1), run.later(tools["weigh"], 2))[1])
        turn(run)
        put = Errand.objects.get(pk=ToolCall.objects.get(tool="put").pk)
        weigh = Errand.objects.exclude(pk=put.pk).get()
        assert services.take_errand(put.pk, "wrk_slow") is not None
        assert performing.perform(weigh.pk, "wrk_tools")
        assert turn(run) is Outcome.ENDED
        assert reread(run).output == 20
        call = ToolCall.objects.get(pk=put.pk)
        assert call.state == CallState.UNKNOWN and call.not_before is not None
        assert services.answer_errand(put.pk, "wrk_slow", performing.Outcome(result=1))
        call.refresh_from_db()
        assert (call.state, call.settled_by) == (CallState.SUCCEEDED, "worker:wrk_slow")
        assert Step.objects.get(name="put").state == "succeeded"
        assert reread(run).state == "succeeded"

    def test_a_write_that_was_answered_is_recorded(self, run_of: Starter, tools: dict[str, Any]) -> None:
        run = run_of(lambda run: run.race(run.later(tools["put"], 1), run.later(tools["weigh"], 2))[1])
        turn(run)
        services.cancel_run(run.pk, actor="user:omar", reason="enough")
        put = Errand.objects.get(pk=ToolCall.objects.get(tool="put").pk)
        assert not performing.perform(put.pk, "wrk_tools") or Errand.objects.get(pk=put.pk).state == "done"
        turn(run)
        row = reread(run)
        assert row.state == "cancelled"
        assert not Errand.objects.filter(state__in=["waiting", "taken", "done"]).exists()


def test_the_same_rows_whichever_database(run_of: Starter) -> None:
    """The statement with errands is written by both spellings of the checkpoint."""

    @tool(effect="write", queue=QUEUE)
    def put(*, key: IdempotencyKey) -> str:
        return "done"

    run = run_of(lambda run: run.tool(put))
    turn(run)
    row = Errand.objects.get()
    assert (row.queue, row.timeout, row.state, row.lease_owner, row.outcome) == (
        QUEUE,
        30.0,
        "waiting",
        "",
        None,
    )
    assert row.wake_at is not None and row.wake_at > row.created_at
    assert connection.vendor in ("sqlite", "postgresql")


def test_the_page_says_that_nobody_listens(run_of: Starter) -> None:
    @tool(effect="read", queue=QUEUE)
    def weigh() -> int:
        return 3

    run = run_of(lambda run: run.tool(weigh))
    turn(run)
    ada = User.objects.create_superuser("ada", password="x")
    status = queries.run_detail(run.pk, ada).status
    assert status.what == "for a worker, but no worker listens on queue tools"
    assert status.on.endswith(": python3 manage.py worker tools")
    assert status.alarm and status.since == Errand.objects.get().created_at
    now = db_now()
    values = {"host": "elsewhere", "pid": 1, "process_started": "1", "pool": "prefork", "started_at": now}
    Worker.objects.create(pk="wrk_there", queues=QUEUE, beat_at=now, **values)
    assert queries.run_detail(run.pk, ada).status.what == "for a worker on queue tools"
    stale = now - timedelta(minutes=5)
    Worker.objects.update(beat_at=stale)
    assert queries.run_detail(run.pk, ada).status.since == stale
    Worker.objects.update(beat_at=now, draining_at=now)
    assert queries.run_detail(run.pk, ada).status.alarm, "one that drains takes nothing new"
