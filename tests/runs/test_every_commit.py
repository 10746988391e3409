"""A process dies at every commit of a run, just before and just after it: the next one goes on."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from pydantic import BaseModel

from approvals import services as approvals
from approvals.models import Approval
from runs import engine, journal, services, timers, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
from runs.turns import checkpoint
from tests.runs.dying import DEAD
from tools import registry
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.models import ToolCall

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
#: More commits than the run has: the trials beyond its end show that all of them were tried.
COMMITS = 14


class Nothing(BaseModel):
    """An input."""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """What was done outside, one line each, whoever did it and whatever became of them."""
    return tmp_path / "world"


@pytest.fixture
def errand(world: Path) -> Iterator[str]:
    """A read, a write, a wait and a held launch."""
    world.touch()

    def do(what: str, key: str = "") -> str:
        with world.open("a") as file:
            file.write(f"{what} {key}\n")
        return what

    with registry.scratch():

        @registry.tool(effect="read", name="errand_look")
        def look() -> str:
            return do("look")

        @registry.tool(effect="write", risk="low", name="errand_put", rollback="None")
        def put(*, key: IdempotencyKey) -> str:
            return do("put", key)

        @registry.tool(effect="irreversible", risk="high", name="errand_launch", rollback="None")
        def launch(*, key: IdempotencyKey) -> str:
            return do("launch", key)

        @workflow.workflow("test.errand")
        def errand(run: Run, case: Nothing) -> list[str]:
            drawn = run.random()
            seen = [run.tool(look), run.tool(put)]
            run.sleep(3600)
            seen += [run.tool(launch), run.tool(look)]
            assert run.random() != drawn
            return seen

        yield "test.errand"


class Deaths:
    """Turns in processes of their own, one of which dies around commit number `at` of the run."""

    def __init__(self, at: int, *, after: bool) -> None:
        self._at, self._after = at, after
        self._context = multiprocessing.get_context("fork")
        self._commits = self._context.Value("i", 0)

    def turn(self, run: RunRow) -> bool:
        """One turn; whether its process died."""
        connection.close()
        child = self._context.Process(target=self._advance, args=(run.pk,))
        child.start()
        child.join(60)
        code = child.exitcode
        child.close()
        assert code in (0, DEAD), f"the process ended with {code}"
        return code == DEAD

    def _advance(self, run_id: str) -> None:
        real = checkpoint.write

        def dying(*args: Any) -> bool:
            self._commits.value += 1
            if self._commits.value == self._at and not self._after:
                os._exit(DEAD)
            written = real(*args)
            if self._commits.value == self._at:
                os._exit(DEAD)
            return written

        checkpoint.write = dying  # type: ignore[assignment]
        engine.advance(run_id, f"wrk_{os.getpid()}")
        os._exit(0)


def next_worker(run: RunRow) -> None:
    """What caretakers do once the process is gone for certain and time has passed."""
    row = RunRow.objects.get(pk=run.pk)
    if row.state == "running":
        services.rescue_run(run.pk, row.lease_epoch, reason="it died", died=True, proven=True, alone=False)
    past = row.created_at.replace(year=2020)
    Step.objects.filter(run=run).exclude(not_before=None).update(not_before=past)
    ToolCall.objects.filter(run_id=run.pk).exclude(not_before=None).update(not_before=past)
    Step.objects.filter(run=run, state="waiting").update(due_at=past)
    RunRow.objects.filter(pk=run.pk, state="waiting").exclude(wake_at=None).update(wake_at=past)
    timers.wake_due_runs()


def decide(run: RunRow, bea: User) -> None:
    for asked in Approval.objects.filter(run=run, state="pending"):
        approvals.decide(asked.pk, by=bea, verdict="approve", digest=asked.digest)


def settle(run: RunRow, world: Path) -> None:
    """A person looks whether it happened, and says so."""
    for call in ToolCall.objects.filter(run_id=run.pk, state="unknown"):
        happened = f"launch {call.key}" in world.read_text()
        outcome, result = ("happened", "launch") if happened else ("did_not_happen", None)
        calls.settle(call.pk, outcome, result, note="Looked.", by="user:bea")


def play(run: RunRow, deaths: Deaths, bea: User, world: Path) -> int:
    """The run to its end, with people doing their part; how many processes died on the way."""
    died = 0
    for _ in range(12):
        died += deaths.turn(run)
        row = RunRow.objects.get(pk=run.pk)
        assert list(journal.verify(row, row.journal.order_by("seq"))) == []
        if row.ended:
            return died
        next_worker(run)
        decide(run, bea)
        settle(run, world)
    raise AssertionError(f"it is stuck: {row.state} {row.waiting_for} {row.attention}")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_it_ends_the_same_wherever_its_process_died(errand: str, world: Path, after: bool) -> None:
    bea = User.objects.create_user("bea", password="x")
    bea.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    died = []
    for at in range(1, COMMITS + 1):
        world.write_text("")
        run = services.start_run(errand, {}, actor="user:ana")
        died.append(play(run, Deaths(at, after=after), bea, world))
        check(RunRow.objects.get(pk=run.pk), world)
    assert died[0] == 1 and died[-1] == 0, "every commit was tried, up to beyond the last one"
    assert sum(died) >= 9, "the fault was there"


def check(row: RunRow, world: Path) -> None:
    assert (row.state, row.output) == ("succeeded", ["look", "put", "launch", "look"])
    lines = world.read_text().splitlines()
    launches = [line for line in lines if line.startswith("launch")]
    puts = {line for line in lines if line.startswith("put")}
    assert len(launches) == 1, lines
    assert len(puts) == 1, "one key for all attempts"
    succeeded = row.journal.filter(kind="call.succeeded").values_list("step_id", flat=True)
    assert len(succeeded) == len(set(succeeded))
    calls = ToolCall.objects.filter(run_id=row.pk)
    assert not calls.filter(state__in=["started", "unknown"]).exists()
    assert Approval.objects.get(run=row).consumed_by_key == launches[0].split()[1]
    assert Step.objects.filter(run=row).count() == 7
