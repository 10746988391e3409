"""A process stalls between its intent and its act, and wakes up when its lease is over: it starts nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pydantic import BaseModel

from ops.launch.processes import wait_until
from runs import engine, journal, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.models import Step
from runs.turns import checkpoint, turn
from tests.record import everything
from tools.contract import IdempotencyKey
from tools.registry import tool

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
SECONDS = 0.4


class Nothing(BaseModel):
    """An input."""


def stopped(pid: int | None) -> bool:
    """Whether that process has been stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def stall_after_the_intent(run_id: str) -> None:
    """One turn whose process stops itself once the intent is on record; it ends with 0 when it was fenced."""
    real = checkpoint.write

    def stalling(*args: Any) -> bool:
        written = real(*args)
        checkpoint.write = real
        os.kill(os.getpid(), signal.SIGSTOP)
        return written

    checkpoint.write = stalling  # type: ignore[assignment]
    os._exit(0 if engine.advance(run_id, "wrk_stalled") is Outcome.FENCED else 1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc whether a process is stopped")
@pytest.mark.parametrize("taken_over", [True, False])
def test_the_effect_is_not_begun(
    open_gate: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_over: bool
) -> None:
    world = tmp_path / "world"
    world.touch()

    @tool(effect="write", timeout=SECONDS, rollback="None")
    def put(*, key: IdempotencyKey) -> str:
        with world.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return "put"

    @workflow.workflow("test.stall")
    def stall(run: Run, case: Nothing) -> str:
        return run.tool(put)

    monkeypatch.setattr(turn, "LEASE", SECONDS)
    monkeypatch.setattr(turn, "MARGIN", SECONDS)
    run = services.start_run("test.stall", {}, actor="user:ana")
    connection.close()
    child = multiprocessing.get_context("fork").Process(target=stall_after_the_intent, args=(run.pk,))
    child.start()
    assert wait_until(lambda: stopped(child.pid), 20)
    assert Step.objects.get(run=run).state == "started", "the intent is on record"
    until = RunRow.objects.get(pk=run.pk).lease_until
    assert until is not None and wait_until(lambda: db_now() > until, 10)
    if taken_over:
        services.rescue_run(run.pk, 1, reason="test", died=True, proven=True, alone=False)
        assert engine.advance(run.pk, "wrk_next") is Outcome.ENDED
    before, done = everything(), world.read_text()

    os.kill(child.pid or 0, signal.SIGCONT)
    child.join(20)
    assert child.exitcode == 0, "it was not fenced"
    assert world.read_text() == done == (f"{os.getpid()}\n" if taken_over else "")
    assert everything() == before
    row = RunRow.objects.get(pk=run.pk)
    assert list(journal.verify(row, row.journal.order_by("seq"))) == []


def test_an_act_counts_as_lost_only_a_margin_after_its_lease(open_gate: None) -> None:
    seen = []

    @tool(effect="write", timeout=SECONDS, rollback="None")
    def put(*, key: IdempotencyKey) -> str:
        until = RunRow.objects.values_list("lease_until", flat=True).get()
        seen.append((Step.objects.values_list("not_before", flat=True).get(), until))
        connection.close()
        return "put"

    @workflow.workflow("test.margin")
    def margin(run: Run, case: Nothing) -> str:
        return run.tool(put)

    run = services.start_run("test.margin", {}, actor="user:ana")
    assert engine.advance(run.pk, "wrk_test") is Outcome.ENDED
    ((not_before, until),) = seen
    assert not_before is not None and until is not None
    # Both are counted from moments of one turn that lie milliseconds apart.
    assert (not_before - until).total_seconds() > turn.MARGIN - 1
