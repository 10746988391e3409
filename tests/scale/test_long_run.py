"""A run of many steps: the last cost what the first did, and it is resumed by one query."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ops.launch.processes import PROJECT
from runs import engine, services
from runs.models import Run as RunRow
from runs.models import Step
from runs.turns import lease

pytestmark = pytest.mark.django_db
OURS = tuple(f"{PROJECT / folder}/" for folder in ("tools", "runs", "approvals"))


def lines_of(act: Callable[[], Any]) -> int:
    """How many lines of this project `act` runs through, each turn of a loop counted: the same on every
    machine, however busy it is.
    """
    count = 0

    def inside(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return inside

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        ours = frame.f_code.co_filename.startswith(OURS)
        return inside if ours else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def walked(steps: int) -> RunRow:
    return services.start_run("scale.walks", {"steps": steps}, actor="user:ana")


def cost(steps: int) -> int:
    run = walked(steps)
    lines = lines_of(lambda: engine.advance(run.pk, "wrk_1"))
    assert RunRow.objects.get(pk=run.pk).state == "succeeded"
    return lines


def test_the_last_steps_cost_what_the_first_did() -> None:
    cost(5)  # what happens once a process has happened
    few, more, many = cost(20), cost(120), cost(420)
    early, late = (more - few) / 100, (many - more) / 300
    # Rules are read again once a second, which is not the run's doing.
    assert late < early * 1.1


def test_a_step_is_as_many_statements_late_as_early() -> None:
    def asked(steps: int) -> int:
        run = walked(steps)
        with CaptureQueriesContext(connection) as queries:
            engine.advance(run.pk, "wrk_1")
        return sum("olicy" not in query["sql"] for query in queries)

    asked(5)
    few, more, many = asked(10), asked(60), asked(160)
    assert (many - more) / 100 == (more - few) / 50


def test_resuming_is_one_query_and_linear_work() -> None:
    def resumed(steps: int) -> tuple[int, int]:
        run = walked(steps)
        engine.advance(run.pk, "wrk_1")
        # As after a kill right before the end was written.
        last = Step.objects.filter(run=run).latest("position")
        RunRow.objects.filter(pk=run.pk).update(state="queued")
        assert last.position == steps
        with CaptureQueriesContext(connection) as queries:
            lines = lines_of(lambda: engine.advance(run.pk, "wrk_2"))
        assert RunRow.objects.get(pk=run.pk).state == "succeeded"
        return lines, len(queries)

    resumed(5)
    (few, asked), (more, again), (many, at_last) = resumed(20), resumed(120), resumed(320)
    assert asked == again == at_last
    assert (many - more) / 200 < (more - few) / 100 * 1.1


@pytest.mark.postgres
def test_a_claim_brings_all_steps_in_one_statement() -> None:
    run = walked(30)
    engine.advance(run.pk, "wrk_1")
    RunRow.objects.filter(pk=run.pk).update(state="queued")
    with CaptureQueriesContext(connection) as queries:
        turn = lease.claim(run.pk, "wrk_2")
    assert turn is not None and len(turn.steps) == 30
    assert len(queries) == 1
