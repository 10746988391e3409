"""With 100,000 runs that wait, whatever is asked all the time is answered by an index.

The plans are those of the statements that the code really sends, taken while it sends them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import Q
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from approvals import queue
from approvals.models import Approval
from approvals.queue import QueueFilter
from runs import engine, questions, services, timers
from runs.api.pages import _write, keyset
from runs.models import JournalEntry, Step
from runs.models import Run as RunRow
from runs.pages import counts, queries
from runs.pages.queries import RunFilter, run_list
from runs.states import RunState
from runs.turns import lease
from tests.scale.conftest import copy_row, numbered
from tools.counting import MOST
from tools.models import ToolCall

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]
MANY = 100_000
MIDDLE = f"run_{MANY // 2:026}"
#: Of these, so many wait for a person; the others were decided long ago.
PENDING = 1_000
BIG = ("runs_run", "runs_step", "runs_journalentry", "approvals_approval", "tools_toolcall")
# What goes through rows on purpose: the anchors, which read every entry once.
THROUGH_ALL = ("LIMIT 50000",)


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


_execute: Any = psycopg.RawCursor.execute


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

    def prepared(self, cursor: Any, text: str, values: Any = None, **options: Any) -> Any:
        """The same for statements that go past Django's cursors."""
        if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)", text) and text not in self.taken:
            with psycopg.RawCursor(cursor.connection) as beside:
                _execute(beside, f"EXPLAIN (FORMAT JSON) {text}", values)
                told = beside.fetchone()[0]
            self.taken[text] = told if isinstance(told, str) else json.dumps(told)
        return _execute(cursor, text, values, **options)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, the plan of every statement is kept."""
        watched = lambda *given, **options: self.prepared(*given, **options)  # noqa: E731
        with connection.execute_wrapper(self), patch.object(psycopg.RawCursor, "execute", watched):
            yield

    def scanned(self) -> list[tuple[str, str]]:
        """Big tables that were read from end to end, with the statement."""
        found = []
        for text, plan in self.taken.items():
            if any(part in text for part in THROUGH_ALL):
                continue
            for node in _nodes({"Node Type": "Result", "Plans": [json.loads(plan)[0]["Plan"]]}):
                found += [
                    (below["Relation Name"], text)
                    for below in node.get("Plans", [])
                    if _reads_all(below, node)
                ]
        return found


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


def _reads_all(node: dict[str, Any], above: dict[str, Any]) -> bool:
    if node["Node Type"] != "Seq Scan" or node.get("Relation Name") not in BIG:
        return False
    return above["Node Type"] != "Limit" or "Filter" in node  # the first rows, whichever they are


def scans_of(act: Callable[[], Any]) -> list[tuple[str, str]]:
    plans = Plans()
    with plans.watching():
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
        "older runs": scans_of(lambda: _read(run_list(RunFilter(before=MIDDLE), ana))),
        "those of a workflow": scans_of(lambda: _read(run_list(RunFilter(workflow="scale.asks"), ana))),
        "the queue of a person": scans_of(
            lambda: _read(queue.look(QueueFilter.read(QueryDict(""), ana), ana))
        ),
        "open questions": scans_of(lambda: list(questions.open_questions())),
        "calls in doubt": scans_of(lambda: list(ToolCall.objects.unknown())),
        "one run": scans_of(lambda: queries.run_detail(crowd.pk, ana)),
        "a claim": _scans_of_a_claim(),
        "waking": scans_of(lambda: services.wake_due(crowd.pk)),
    }
    scans = [f"{place}: {table}: {text}" for place, pairs in found.items() for table, text in pairs]
    assert not scans, "\n".join(scans)


def test_the_counts_of_all_states_stop_counting(crowd: RunRow) -> None:
    plans = Plans()
    with plans.watching():
        found = counts.by_state(Q())
    ((_, plan),) = plans.taken.items()
    nodes = list(_nodes(json.loads(plan)[0]["Plan"]))
    assert str(found[RunState.WAITING]) == "10,000+" and found[RunState.FAILED] == 0
    assert not plans.scanned()
    assert "run_listed" in {node.get("Index Name") for node in nodes}
    limits = [node for node in nodes if node["Node Type"] == "Limit"]
    assert len(limits) == len(RunState) and max(node["Plan Rows"] for node in limits) <= MOST + 1


def test_a_late_page_begins_where_it_is_asked_to(crowd: RunRow) -> None:
    ana, late = reviewer(), RunRow.objects.get(pk=MIDDLE)
    rows = RunRow.objects.defer("input", "output")
    asked: list[Callable[[], Any]] = [
        lambda: _read(run_list(RunFilter(before=MIDDLE), ana)),
        lambda: keyset(rows, ("created_at", "id"), cursor=_cursor_at(late), limit=50, descending=True),
    ]
    for act in asked:
        plans = Plans()
        with plans.watching():
            act()
        pages = [plan for text, plan in plans.taken.items() if "LIMIT 51" in text and "created_at" in text]
        assert pages and all('Index Cond": "(created_at <=' in plan for plan in pages), pages


def _cursor_at(run: RunRow) -> str:
    return _write(run, ("created_at", "id"))


def test_the_first_pages_of_the_admin_do_not_read_a_big_table(crowd: RunRow) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    found: list[Any] = []
    for name in BIG:
        address = reverse(f"admin:{name}_changelist")
        assert client.get(address).status_code == 200
        found += scans_of(lambda: client.get(address))  # noqa: B023 - called at once
        if name not in ("runs_run", "approvals_approval"):  # those search words as well
            found += scans_of(lambda: client.get(address, {"q": MIDDLE}))  # noqa: B023
    assert not found


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
