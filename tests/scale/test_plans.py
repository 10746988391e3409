"""With 100,000 runs that wait, whatever is asked all the time is answered by an index.

The plans are those of the statements that the code really sends, taken while it sends them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.http import QueryDict

from approvals import queue
from approvals.models import Approval
from approvals.queue import QueueFilter
from runs import engine, services, timers
from runs.models import JournalEntry, Step
from runs.models import Run as RunRow
from runs.pages import queries
from runs.pages.queries import RunFilter
from runs.turns import lease
from tests.scale.conftest import copy_row, numbered
from tools.models import ToolCall

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]
MANY = 100_000
#: Of these, so many wait for a person; the others were decided long ago.
PENDING = 1_000
BIG = ("runs_run", "runs_step", "runs_journalentry", "approvals_approval", "tools_toolcall")
# What goes through rows on purpose: the counts of all states, and the anchors, which read every entry once.
THROUGH_ALL = ('COUNT("runs_run"."id") AS "pk__count"', "LIMIT 50000")


@pytest.fixture
def crowd() -> RunRow:
    """100,000 runs that wait, each with its steps, calls, journal and request."""
    run = services.start_run("scale.asks", {}, actor="user:omar")
    engine.advance(run.pk, "wrk_1")
    run.refresh_from_db()
    assert run.state == "waiting"
    later = "clock_timestamp() + n * interval '1 minute'"
    before = "clock_timestamp() - n * interval '1 second'"
    copy_row(run, MANY, id=numbered("run"), created_at=before, once="NULL", wake_at=later)
    for number, step in enumerate(Step.objects.filter(run=run).order_by("position")):
        copy_row(step, MANY, id=numbered(f"stp{number}"), run_id=numbered("run"))
    held = numbered("stp1")
    for call in ToolCall.objects.filter(run_id=run.pk):
        copy_row(call, MANY, id=numbered("call"), run_id=numbered("run"), step_id=numbered("stp0"))
    entry = JournalEntry.objects.filter(run=run).latest("seq")
    copy_row(entry, MANY, run_id=numbered("run"))
    asked = Approval.objects.get(run=run)
    ended = f"CASE WHEN n > {PENDING} THEN clock_timestamp() END"
    state = f"CASE WHEN n <= {PENDING} THEN 'pending' ELSE 'withdrawn' END"
    copy_row(
        asked,
        MANY,
        id=numbered("apr"),
        run_id=numbered("run"),
        step_id=held,
        state=state,
        decided_at=ended,
        created_at=before,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        # As on a disk without moving parts: the plan is asked for, not what this machine's memory holds.
        cursor.execute("SET random_page_cost = 1.1")
    return run


class Plans:
    """Sends every statement as it is, and asks for its plan before."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = str(sql)
        if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)", text) and text not in self.taken:
            with context["connection"].connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (FORMAT JSON) {text}", params)
                self.taken[text] = json.dumps(cursor.fetchone()[0])
        return execute(sql, params, many, context)

    def scanned(self) -> list[tuple[str, str]]:
        """Big tables that were read from end to end, with the statement."""
        found = []
        for text, plan in self.taken.items():
            if any(part in text for part in THROUGH_ALL):
                continue
            for node in _nodes(json.loads(plan)[0]["Plan"]):
                if node["Node Type"] == "Seq Scan" and node.get("Relation Name") in BIG:
                    found.append((node["Relation Name"], text))
        return found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def scans_of(act: Callable[[], Any]) -> list[tuple[str, str]]:
    plans = Plans()
    with connection.execute_wrapper(plans):
        act()
    assert plans.taken, "nothing was asked"
    return plans.scanned()


def reviewer() -> User:
    person = User.objects.create_user("ana", password="x")
    for codename in ("decide_approval", "view_approval", "view_run"):
        person.user_permissions.add(Permission.objects.get(codename=codename))
    return User.objects.get(pk=person.pk)


def test_nothing_that_is_asked_all_the_time_reads_a_big_table_from_end_to_end(crowd: RunRow) -> None:
    ana = reviewer()
    found = {
        "a round of the caretakers": scans_of(_sweep_all),
        "the list of runs": scans_of(lambda: _read(queries.run_list(RunFilter.read(QueryDict("")), ana))),
        "those in one state": scans_of(
            lambda: _read(queries.run_list(RunFilter.read(QueryDict("state=failed")), ana))
        ),
        "the queue of a person": scans_of(
            lambda: _read(queue.look(QueueFilter.read(QueryDict(""), ana), ana))
        ),
        "one run": scans_of(lambda: queries.run_detail(crowd.pk, ana)),
        "a claim": _scans_of_a_claim(),
        "waking": scans_of(lambda: services.wake_due(crowd.pk)),
    }
    scans = [f"{place}: {table}: {text}" for place, pairs in found.items() for table, text in pairs]
    assert not scans, "\n".join(scans)


def _scans_of_a_claim() -> list[tuple[str, str]]:
    """Its statement is planned once for all runs."""
    plans = Plans()
    with connection.cursor() as cursor:
        cursor.execute("PREPARE claim (text, text, text, text, text) AS " + lease._CLAIM)
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute("EXPLAIN (FORMAT JSON) EXECUTE claim ('wrk_2', '30', 'run_x', 'true', 'worker:wrk_2')")
        plans.taken["claim"] = json.dumps(cursor.fetchone()[0])
    return plans.scanned()


def _sweep_all() -> None:
    timers._next.clear()  # also the duties that rest between two rounds
    done = timers.sweep()
    assert "runs.wake" in done


def _read(page: Any) -> None:
    """Everything lazy in a page, as a template does."""
    for value in vars(page).values():
        if hasattr(value, "_fetch_all") or hasattr(value, "__iter__"):
            list(value)
