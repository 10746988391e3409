"""Many waits that come due at the same moment: each is woken once, in batches, also by two caretakers."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs import engine, services, timers
from runs.models import Run as RunRow
from runs.models import Step
from tests.together import at_once

MANY = 600  # three batches; `manage.py bench timers` does 10,000


@pytest.fixture
def due(transactional_db: None) -> list[str]:
    """Runs that sleep, all due since a moment ago."""
    cases = [{"seconds": 86_400.0}] * MANY
    ids = [run.pk for run in services.start_runs("scale.sleeps", cases, actor="user:ana")]
    for run_id in ids:
        engine.advance(run_id, "wrk_1")
    past = RunRow.objects.get(pk=ids[0]).created_at
    Step.objects.filter(run_id__in=ids).update(due_at=past)
    assert RunRow.objects.filter(pk__in=ids, state="waiting").update(wake_at=past) == MANY
    return ids


def wake_all(_: int) -> int:
    """Rounds until nothing is due; how many this caretaker woke."""
    woken = 0
    while found := timers.wake_due_runs():
        woken += found
    return woken


def test_it_works_in_batches(due: list[str]) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert timers.wake_due_runs() == timers.BATCH
    chosen = [query["sql"] for query in asked if "ORDER BY" in query["sql"] and "wake_at" in query["sql"]]
    assert chosen and all("LIMIT" in text for text in chosen)
    assert wake_all(0) == MANY - timers.BATCH
    assert RunRow.objects.filter(pk__in=due, state="queued", wakes=1).count() == MANY


@pytest.mark.postgres
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_two_caretakers_wake_each_of_them_once(due: list[str]) -> None:
    ((first, second),) = at_once(1, [wake_all, wake_all])
    assert first + second == MANY
    rows = RunRow.objects.filter(pk__in=due)
    assert rows.filter(state="queued", wakes=1).count() == MANY
    for run_id in due[:20]:
        engine.advance(run_id, "wrk_1")
    assert rows.filter(state="succeeded").count() == 20
