"""The first line of a run's page: for every state, what, on whom it depends, until when, then what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runs.models import Run, Step
from runs.pages.status import Status, status_of
from runs.states import RunState
from runs.waits import Wait

T = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = T + timedelta(hours=1)


def status(
    state: str, *, steps: list[Step] | None = None, waits: list[Wait] | None = None, **values: Any
) -> Status:
    listens = values.pop("worker_listens", True)
    run = Run(id="run_1", workflow="shop.refund", version=1, state=state, created_at=T, **values)
    return status_of(run, steps or [], waits or [], since=T, worker_listens=listens)


def step(state: str, **values: Any) -> Step:
    return Step(
        **({"kind": "tool", "name": "pay_back", "state": state, "attempt": 1, "started_at": T} | values)
    )


def wait(**values: Any) -> Wait:
    given = {"run_id": "run_1", "step_id": "stp_1", "what": "Pay 120 back", "who": "Finance", "since": T}
    return Wait(**(given | {"until": LATER, "then": "the run stops", "url": "/a/", "may_act": True} | values))


@pytest.mark.parametrize("state", list(RunState))
def test_every_state_has_a_line(state: str) -> None:
    line = status(state)
    assert line.what
    assert line.since is not None or state in ("succeeded", "failed", "cancelled")


def test_a_decision_names_who_and_what_happens_otherwise() -> None:
    line = status("waiting", waits=[wait()])
    assert line == Status(
        "for a decision: Pay 120 back", "Finance", T, LATER, "the run stops", "/a/", act="Review now"
    )


def test_whoever_may_not_decide_gets_no_link() -> None:
    assert status("waiting", waits=[wait(may_act=False)]).url == ""


def test_of_several_decisions_the_viewers_own_comes_first() -> None:
    line = status("waiting", waits=[wait(may_act=False), wait(what="Send it", url="/b/")])
    assert (line.what, line.url) == ("for a decision (and 1 more decision): Send it", "/b/")


def test_the_clock() -> None:
    line = status("waiting", steps=[step("waiting", kind="sleep", due_at=LATER)])
    assert (line.what, line.until, line.then) == ("for the clock", LATER, "it goes on by itself")


def test_a_retry_says_why() -> None:
    line = status("waiting", steps=[step("waiting", due_at=LATER, attempt=2, error={"message": "timeout"})])
    assert line.what == "to try pay_back again, after attempt 2: timeout"


def test_without_a_worker_it_says_how_to_start_one() -> None:
    line = status("queued", queue="agents", worker_listens=False)
    assert line.alarm
    assert line.on.endswith("manage.py worker agents")
    assert not status("queued").alarm


def test_a_run_that_must_be_alone_waits_for_the_workers_that_take_such_runs() -> None:
    line = status("queued", alone=True, queue="runs")
    assert line.what == "to be tried alone, because a worker died that had it"
    assert line.on == "the next free worker of queue tools, one run at a time"
    assert status("queued", alone=True, queue="runs", worker_listens=False).on.endswith(" worker tools")


def test_a_clean_up_that_waits_for_the_clock() -> None:
    line = status("cancelling", waiting_for="until 2026-03-01 13:00:00 UTC", wake_at=LATER)
    assert line.what == "after it has cleaned up; its clean-up waits until 2026-03-01 13:00:00 UTC"
    assert status("cancelling", waiting_for="an answer").what.endswith("its clean-up waits for an answer")


def test_running_names_the_step_and_the_worker() -> None:
    line = status("running", steps=[step("started", attempt=3)], lease_owner="wrk_1", lease_until=LATER)
    assert (line.what, line.on, line.until) == ("pay_back, attempt 3", "worker wrk_1", LATER)


def test_attention_says_its_sentence() -> None:
    line = status("needs_attention", attention={"code": "diverged", "sentence": "The code changed."})
    assert (line.what, line.alarm) == ("The code changed.", True)


def test_the_end_says_why() -> None:
    error = {"error": {"type": "Rejected", "message": "too much", "by": "user:bea"}}
    assert status("cancelled", output=error).what == "too much (bea)"
    assert status("failed", output={"error": {"type": "ValueError"}}).what == "ValueError"
