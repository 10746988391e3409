"""Many runs in one transaction: each like one that was started alone, or none at all."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pydantic import BaseModel

from runs import engine, journal, messages, services, workflow
from runs.context import Run
from runs.models import JournalEntry
from runs.models import Run as RunRow
from runs.workflow import InvalidInput

pytestmark = pytest.mark.django_db


class Case(BaseModel):
    number: int


@pytest.fixture(autouse=True)
def doubled(settings: object) -> None:
    settings.HOLDPOINT_ACTIVATION = False  # type: ignore[attr-defined]

    @workflow.workflow("many.doubled")
    def double(run: Run, case: Case) -> int:
        return case.number * 2


def start(count: int) -> list[RunRow]:
    return services.start_runs("many.doubled", [{"number": n} for n in range(count)], actor="user:ana")


def test_it_works(django_capture_on_commit_callbacks: object, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(messages, "send", lambda run_id, *_: told.append(run_id))
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        runs = start(3)
    assert told == [run.pk for run in runs]
    for run in runs:
        engine.advance(run.pk, "wrk_1")
    rows = [RunRow.objects.get(pk=run.pk) for run in runs]
    assert [row.output for row in rows] == [0, 2, 4]
    assert all(list(journal.verify(row, row.journal.order_by("seq"))) == [] for row in rows)


def test_each_leaves_what_one_started_alone_leaves() -> None:
    alone = services.start_run("many.doubled", {"number": 0}, actor="user:ana")
    (one,) = start(1)

    def left(run: RunRow) -> list[object]:
        row = RunRow.objects.filter(pk=run.pk).values().get()
        kept = run.history.values().get()
        entry = JournalEntry.objects.filter(run=run).values().get()
        own = ("id", "history_id", "run_id", "created_at", "wake_at", "head_hash", "mac", "history_date")
        own += ("at", "recorded_at")
        return [{k: v for k, v in found.items() if k not in own} for found in (row, kept, entry)]

    assert left(one) == left(alone)


def test_one_that_does_not_fit_stops_all_of_them() -> None:
    with pytest.raises(InvalidInput, match="input 2: number"):
        services.start_runs("many.doubled", [{"number": 1}, {"number": "x"}], actor="user:ana")
    assert not RunRow.objects.exists() and not JournalEntry.objects.exists()


@pytest.mark.postgres
def test_a_hundred_cost_hardly_more_statements_than_one() -> None:
    with CaptureQueriesContext(connection) as one:
        start(1)
    with CaptureQueriesContext(connection) as many:
        start(100)
    assert len(many) == len(one) + 4
