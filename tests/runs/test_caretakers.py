"""A round of the caretakers: rows that fail again and again keep nobody behind them waiting."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import BaseModel

from runs import engine, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow

pytestmark = pytest.mark.django_db(transaction=True)


class Case(BaseModel):
    """An input."""


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Seven runs whose time has come, one a second; a round takes batches of two."""
    monkeypatch.setattr(timers, "BATCH", 2)

    @workflow.workflow("test.waits")
    def flow(run: Run, case: Case) -> None:
        run.sleep(3600)

    ids = []
    for place in range(7):
        run = services.start_run("test.waits", {}, actor="user:ana")
        engine.advance(run.id, "wrk_test")
        RunRow.objects.filter(pk=run.id).update(wake_at=db_now() - timedelta(seconds=10 - place))
        ids.append(run.id)
    return ids


class TestRound:
    def test_it_cares_for_a_batch_the_oldest_first(self, waiting: list[str]) -> None:
        assert timers.wake_due_runs() == 2
        assert set(RunRow.objects.filter(state="queued").values_list("id", flat=True)) == set(waiting[:2])

    def test_rows_that_fail_keep_nobody_waiting(
        self, waiting: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wake, asked = services.wake_due, []

        def care(run_id: str) -> bool:
            asked.append(run_id)
            if run_id in waiting[:5]:
                raise RuntimeError("again and again")
            return wake(run_id)

        monkeypatch.setattr(services, "wake_due", care)
        assert timers.wake_due_runs() == 2
        assert asked == waiting
        assert set(RunRow.objects.filter(state="queued").values_list("id", flat=True)) == set(waiting[5:])

    def test_rows_of_one_moment_are_all_seen(self, waiting: list[str]) -> None:
        RunRow.objects.update(wake_at=db_now() - timedelta(seconds=1))
        rows = RunRow.objects.filter(state="waiting")
        assert sorted(timers.by_moment(rows, "wake_at")) == sorted(waiting)
