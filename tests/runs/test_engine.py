"""One turn after another: what is recorded is replayed, what is not is done, once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from pydantic import BaseModel

from runs import engine, journal, services, workflow
from runs.context import Run
from runs.engine import Outcome
from runs.models import JournalEntry, Step
from runs.models import Run as RunRow
from runs.states import RunState, StepState
from tools.contract import IdempotencyKey
from tools.failures import Refused, Transient
from tools.models import ToolCall
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)

ANA = "user:ana"
WORKER = "wrk_test"


class Case(BaseModel):
    """An input."""

    number: int = 1


def entries_of(run: RunRow) -> list[JournalEntry]:
    return list(JournalEntry.objects.filter(run=run).order_by("seq"))


def whole(run: RunRow) -> bool:
    return not list(journal.verify(RunRow.objects.get(pk=run.pk), entries_of(run)))


def start(name: str, **value: Any) -> RunRow:
    return services.start_run(name, value, actor=ANA)


class TestAdvance:
    def test_it_works(self) -> None:
        seen: list[int] = []

        @tool(effect="read")
        def look_up(number: int) -> int:
            seen.append(number)
            return number * 2

        @workflow.workflow("test.sum")
        def add(run: Run, case: Case) -> int:
            return sum(run.tool(look_up, case.number + i) for i in range(3))

        run = start("test.sum", number=1)
        assert engine.advance(run.id, WORKER) is Outcome.ENDED
        run.refresh_from_db()
        assert (run.state, run.output, seen) == (RunState.SUCCEEDED, 12, [1, 2, 3])
        assert [s.state for s in run.steps.all()] == ["succeeded"] * 3
        assert whole(run)
        assert run.lease_owner == ""

    def test_a_second_claim_of_a_run_in_hand_gets_nothing(self) -> None:
        @workflow.workflow("test.nested")
        def nested(run: Run, case: Case) -> str:
            return str(engine.advance(run.id, "wrk_other"))

        run = start("test.nested")
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert run.output == "not_ready"

    def test_what_was_recorded_is_not_done_again(self) -> None:
        done: list[str] = []

        @tool(effect="read")
        def first() -> str:
            done.append("first")
            return "a"

        @workflow.workflow("test.wait")
        def waits(run: Run, case: Case) -> list[str]:
            a = run.tool(first)
            moment = run.now()
            number = run.random()
            run.sleep(3600)
            return [a, str(moment), str(number), str(run.uuid())]

        run = start("test.wait")
        assert engine.advance(run.id, WORKER) is Outcome.WAITING
        run.refresh_from_db()
        assert run.state == RunState.WAITING
        assert not services.wake_due(run.id), "an hour is not over"
        due = Step.objects.get(run=run, kind="sleep").due_at
        assert run.wake_at == due
        Step.objects.filter(run=run, kind="sleep").update(due_at=due - timedelta(hours=1))
        RunRow.objects.filter(pk=run.pk).update(wake_at=due - timedelta(hours=1))
        assert services.wake_due(run.id)
        assert engine.advance(run.id, WORKER) is Outcome.ENDED
        run.refresh_from_db()
        assert done == ["first"]
        recorded = {s.name: s.result for s in run.steps.filter(kind="value")}
        assert run.output[2] == str(recorded["random"])
        assert whole(run)

    def test_a_failing_workflow_is_recorded_as_failed(self) -> None:
        @workflow.workflow("test.fails")
        def fails(run: Run, case: Case) -> None:
            raise ValueError("no such luck")

        run = start("test.fails")
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert run.state == RunState.FAILED
        assert run.output["error"]["message"] == "no such luck"
        assert whole(run)

    def test_a_wake_up_while_it_goes_to_wait_is_not_lost(self) -> None:
        turns: list[int] = []

        @workflow.workflow("test.woken")
        def woken(run: Run, case: Case) -> None:
            turns.append(1)
            if len(turns) == 1:
                with transaction.atomic():
                    services.wake(services.lock_run(run.id))
            run.sleep(3600)

        run = start("test.woken")
        assert engine.advance(run.id, WORKER) is Outcome.WAITING
        assert len(turns) == 2
        assert whole(RunRow.objects.get(pk=run.pk))


class TestWrites:
    def test_are_refused_without_a_gate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from runs import gate

        monkeypatch.setattr(gate, "_installed", gate.ClosedGate())

        @tool(effect="write")
        def change(*, key: IdempotencyKey) -> str:
            raise AssertionError("never called")

        @workflow.workflow("test.closed")
        def closed(run: Run, case: Case) -> str:
            try:
                run.tool(change)
            except Refused as error:
                return error.reason
            return "done"

        run = start("test.closed")
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert "No gate" in run.output
        assert run.steps.get().state == StepState.REFUSED

    def test_keep_one_key_over_attempts(self, open_gate: None) -> None:
        keys: list[str] = []

        @tool(effect="write")
        def change(*, key: IdempotencyKey) -> str:
            keys.append(key)
            if len(keys) == 1:
                raise Transient("try again")
            return "done"

        @workflow.workflow("test.retry")
        def retries(run: Run, case: Case) -> str:
            return run.tool(change)

        run = start("test.retry")
        assert engine.advance(run.id, WORKER) is Outcome.WAITING
        past = run.created_at - timedelta(minutes=1)
        Step.objects.filter(run=run).update(due_at=past)
        RunRow.objects.filter(pk=run.pk).update(wake_at=past)
        services.wake_due(run.id)
        assert engine.advance(run.id, WORKER) is Outcome.ENDED
        assert len(keys) == 2 and len(set(keys)) == 1
        assert list(ToolCall.objects.order_by("attempt").values_list("state", flat=True)) == [
            "failed",
            "succeeded",
        ]
        run.refresh_from_db()
        assert whole(run)


class TestDivergence:
    def test_is_held_and_nothing_is_executed(self) -> None:
        called: list[str] = []

        @tool(effect="read")
        def old() -> str:
            return "old"

        @tool(effect="read")
        def new() -> str:
            called.append("new")
            return "new"

        chosen = [old]

        @workflow.workflow("test.changed")
        def changed(run: Run, case: Case) -> None:
            run.tool(chosen[0])
            run.sleep(0)
            run.sleep(3600)

        run = start("test.changed")
        engine.advance(run.id, WORKER)
        chosen[0] = new
        with transaction.atomic():
            services.wake(services.lock_run(run.id))
        assert engine.advance(run.id, WORKER) is Outcome.NEEDS_ATTENTION
        run.refresh_from_db()
        assert run.attention["code"] == "diverged"
        assert "old" in run.attention["recorded"] and "new" in run.attention["asked"]
        assert called == []
        chosen[0] = old
        services.resume_run(run.id, actor=ANA, reason="the old code is back")
        assert engine.advance(run.id, WORKER) is Outcome.WAITING
        run.refresh_from_db()
        assert whole(run)
