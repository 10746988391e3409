"""With many rows: what a start, an end and the caretakers ask is answered from indexes, in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pydantic import BaseModel

from runs import services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from runs.services import QueueFull

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]
MANY = 2_000


class Case(BaseModel):
    """An input."""

    customer: str = "maya"


@pytest.fixture(autouse=True)
def many() -> Iterator[None]:
    """Runs in line for two workflows, runs queued, runs that start tomorrow; two under way."""

    @workflow.workflow("test.two", at_most=2)
    def two(run: Run, case: Case) -> str:
        return case.customer

    @workflow.workflow("test.keyed", at_most_per_key=1, limit_key=lambda case: case.customer)
    def keyed(run: Run, case: Case) -> str:
        return case.customer

    now = db_now()

    def row(number: int, kind: str, **values: Any) -> RunRow:
        usual = {"workflow": "test.two", "version": 1, "requester": "user:omar", "input": {}}
        return RunRow(id=f"run_{kind}{number:08}", created_at=now, **{**usual, **values})

    def rows(kind: str, count: int = MANY, **values: Any) -> list[RunRow]:
        return [row(number, kind, **values) for number in range(count)]

    line = {"state": "waiting", "placed": False}
    tomorrow = now + timedelta(days=1)
    RunRow.objects.bulk_create(
        [
            *rows("under", 2, state="running", placed=True),
            *rows("line", **line),
            *(row(n, "keyed", workflow="test.keyed", limit_key=f"c{n}", **line) for n in range(MANY)),
            *(
                row(n, "held", workflow="test.keyed", limit_key=f"c{n}", state="waiting", placed=True)
                for n in range(MANY)
            ),
            *rows("queued", state="queued", queue="other", wake_at=tomorrow),
            *rows("late", state="waiting", workflow="test.far", deadline=tomorrow, expected_until=tomorrow),
        ],
        batch_size=5000,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE runs_run")
    yield


def plans_of(queries: CaptureQueriesContext) -> list[str]:
    plans = []
    with connection.cursor() as cursor:
        for query in queries.captured_queries:
            if query["sql"].startswith("SELECT") and "runs_run" in query["sql"]:
                cursor.execute("EXPLAIN " + query["sql"])
                plans.append("\n".join(line for (line,) in cursor.fetchall()))
    return plans


def end(run_id: str) -> None:
    RunRow.objects.filter(pk=run_id).update(state="succeeded", finished_at=db_now())


def test_a_full_queue_is_seen_without_counting_it(settings: Any) -> None:
    settings.HOLDPOINT_QUEUE_LIMIT = 100
    with CaptureQueriesContext(connection) as asked, pytest.raises(QueueFull):
        services.start.refuse_if_full("other")
    (plan,) = plans_of(asked)
    assert "run_in_queue" in plan or "run_due" in plan
    assert "Seq Scan" not in plan


def test_an_end_gives_its_place_on_from_indexes() -> None:
    end("run_under00000000")
    began = time.monotonic()
    with CaptureQueriesContext(connection) as asked:
        assert services.give_places("test.two") == 1
    assert time.monotonic() - began < 1
    assert RunRow.objects.get(pk="run_line00000000").placed
    for plan in plans_of(asked):
        assert "Seq Scan" not in plan, plan


def test_an_end_of_one_key_looks_at_that_key_alone() -> None:
    end("run_held00000017")
    with CaptureQueriesContext(connection) as asked:
        assert services.give_places("test.keyed", "c17") == 1
    assert RunRow.objects.get(pk="run_keyed00000017").placed
    for plan in plans_of(asked):
        assert "Seq Scan" not in plan, plan


def test_caretakers_with_nothing_to_do_read_next_to_nothing() -> None:
    with CaptureQueriesContext(connection) as asked:
        assert timers.hand_on_places() == 0
        assert timers.point_out_late_runs() == 0
        assert timers.start_scheduled_runs() == 0
    for plan in plans_of(asked):
        assert "Seq Scan" not in plan, plan


def test_places_that_a_deploy_brought_are_found_in_time() -> None:
    end("run_held00000017")
    began = time.monotonic()
    assert services.places_to_fill() == [("test.keyed", "c17"), ("test.two", "")]
    assert time.monotonic() - began < 5
