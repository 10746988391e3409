"""A write whose worker is proven gone is sent again at once, with the same key."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from runs import engine, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from tools.contract import IdempotencyKey
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]


class Nothing(BaseModel):
    """No input."""


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("proven", [True, False])
def test_it_waits_only_while_the_lost_call_may_still_arrive(proven: bool) -> None:
    keys: list[str] = []
    done: dict[str, str] = {}

    @tool(effect="write")
    def change(*, key: IdempotencyKey) -> str:
        keys.append(key)
        if len(keys) == 1:
            raise Killed
        return done.setdefault(key, "changed")

    @change.lookup
    def _(key: IdempotencyKey) -> str | None:
        return done.get(key)

    @workflow.workflow("test.change")
    def changes(run: Run, nothing: Nothing) -> str:
        return run.tool(change)

    run = services.start_run("test.change", {}, actor="user:ana")
    with pytest.raises(Killed):
        engine.advance(run.id, "wrk_lost")
    epoch = RunRow.objects.get(pk=run.pk).lease_epoch
    assert services.rescue_run(run.id, epoch, reason="it is gone", died=True, proven=proven, alone=True)

    outcome = engine.advance(run.id, "wrk_next")
    assert outcome is (Outcome.ENDED if proven else Outcome.WAITING)
    assert len(keys) == (2 if proven else 1)
    assert len(set(keys)) == 1


class TestSuspects:
    """A run that was there when its worker died is run alone until it makes progress."""

    @pytest.fixture
    def suspect(self) -> RunRow:
        @workflow.workflow("test.quick")
        def quick(run: Run, nothing: Nothing) -> str:
            return "done"

        run = services.start_run("test.quick", {}, actor="user:ana")
        RunRow.objects.filter(pk=run.pk).update(alone=True)
        return run

    def test_an_old_hint_does_not_bring_it_among_others(self, suspect: RunRow) -> None:
        assert engine.advance(suspect.id, "wrk_threads", suspects=False) is Outcome.NOT_READY
        assert engine.advance(suspect.id, "wrk_alone") is Outcome.ENDED

    def test_where_nobody_takes_suspects_it_goes_back_among_others(self, suspect: RunRow) -> None:
        RunRow.objects.filter(pk=suspect.pk).update(wake_at=db_now())
        assert services.requeue(suspect.id)
        assert engine.advance(suspect.id, "wrk_threads", suspects=False) is Outcome.ENDED
