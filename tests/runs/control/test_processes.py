"""Pausing and cancelling runs that workers have in hand, with processes that are killed at any commit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from runs import engine, journal, services, timers, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
from runs.turns import checkpoint
from tests.runs.control.conftest import OMAR, start
from tools import registry
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.models import ToolCall

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
CONTEXT = multiprocessing.get_context("fork")
DEAD = 86
MANY = 300


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """What was done outside, one line each, whoever did it and whatever became of them."""
    path = tmp_path / "world"
    path.touch()
    return path


@pytest.fixture(autouse=True)
def flows(world: Path) -> Iterator[None]:
    """A loop of effects, and a short run with a clean-up of its own."""

    def do(what: str, key: str) -> str:
        with world.open("a") as file:
            file.write(f"{what} {key}\n")
        return what

    @registry.tool(effect="irreversible", risk="high", name="p_launch", rollback="None")
    def launch(number: int, *, key: IdempotencyKey) -> str:
        return do("launch", key)

    @registry.tool(effect="write", risk="low", name="p_put", rollback="None")
    def put(number: int, *, key: IdempotencyKey) -> str:
        return do("put", key)

    @registry.tool(effect="write", risk="low", name="p_clean", rollback="None")
    def clean(*, key: IdempotencyKey) -> str:
        return do("clean", key)

    @workflow.workflow("p.loop")
    def loop(run: Run, case: dict[str, Any]) -> int:
        for number in range(MANY):
            run.tool(put if number % 2 else launch, number)
        return MANY

    def clean_up(run: Run, case: dict[str, Any]) -> None:
        run.tool(clean)
        run.sleep(3600)
        run.tool(clean)

    @workflow.workflow("p.short", on_cancel=clean_up)
    def short(run: Run, case: dict[str, Any]) -> list[str]:
        done = [run.tool(put, 1), run.tool(launch, 2)]
        run.sleep(3600)
        return [*done, run.tool(put, 3), run.tool(launch, 4)]

    yield


def lines(world: Path, what: str = "") -> list[str]:
    return [line for line in world.read_text().splitlines() if line.startswith(what)]


def has(world: Path, many: int) -> bool:
    return len(lines(world)) >= many


def process(target: Callable[..., None], *given: Any) -> Any:
    connection.close()
    child = CONTEXT.Process(target=target, args=given)
    child.start()
    return child


def work(run_id: str) -> None:
    engine.advance(run_id, f"wrk_{os.getpid()}")
    os._exit(0)


def until(there: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not there():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.002)


def seqs(run: RunRow, kind: str) -> list[int]:
    return list(run.journal.filter(kind=kind).order_by("seq").values_list("seq", flat=True))


# A worker in a loop of effects


@pytest.mark.parametrize("done_before", [1, 7, 20, 33])
def test_no_effect_is_begun_after_the_cancel(world: Path, done_before: int) -> None:
    run = start("p.loop")
    child = process(work, run.id)
    until(partial(has, world, done_before))
    services.cancel_run(run.id, actor=OMAR, reason="stop it")
    child.join(60)
    assert child.exitcode == 0
    run.refresh_from_db()
    assert run.state == "cancelled"
    (asked,) = seqs(run, "run.cancelling")
    begun = seqs(run, "call.started")
    assert begun and max(begun) < asked, "every intent was on record before"
    assert len(lines(world)) == len(begun) < MANY
    assert set(ToolCall.objects.filter(run_id=run.id).values_list("state", flat=True)) == {"succeeded"}, (
        "what was under way ended and is recorded"
    )
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []


def test_pause_and_resume_again_and_again(world: Path) -> None:
    run = start("p.loop")
    for done_before in (6, 12, 18, 24):
        child = process(work, run.id)
        until(partial(has, world, done_before))
        services.pause_run(run.id, actor=OMAR, reason="a look")
        child.join(60)
        run.refresh_from_db()
        assert run.state == "paused"
        standing = len(lines(world))
        assert max(seqs(run, "call.started")) < max(seqs(run, "run.pausing"))
        assert engine.advance(run.id, "wrk_x") is engine.Outcome.NOT_READY
        assert len(lines(world)) == standing
        services.resume_run(run.id, actor=OMAR, reason="go on")
    assert engine.advance(run.id, "wrk_x") is engine.Outcome.ENDED
    run.refresh_from_db()
    assert (run.state, run.output) == ("succeeded", MANY)
    assert len(lines(world)) == len(set(lines(world))) == MANY, "each once"


@pytest.mark.postgres  # on SQLite a process that is frozen while it writes keeps everybody from writing
@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_a_killed_worker_of_a_run_that_was_asked(world: Path, verb: str) -> None:
    run = start("p.loop")
    child = process(work, run.id)
    until(partial(has, world, 5))
    os.kill(child.pid, signal.SIGSTOP)
    getattr(services, f"{verb}_run")(run.id, actor=OMAR, reason="stop it")
    os.kill(child.pid, signal.SIGKILL)
    child.join(60)
    caretake(run)
    if verb == "cancel":
        engine.advance(run.id, "wrk_x")
    run.refresh_from_db()
    assert run.state == {"pause": "paused", "cancel": "cancelled"}[verb]
    (asked,) = seqs(run, "run.pausing" if verb == "pause" else "run.cancelling")
    assert max(seqs(run, "call.started")) < asked
    assert run.lease_owner == ""


# Death at every commit


class Deaths:
    """Turns in processes of their own: at commit `asked_at` a person asks, at commit `at` one dies."""

    def __init__(self, verb: str, asked_at: int, at: int, *, after: bool) -> None:
        self.verb, self.asked_at, self.at, self.after = verb, asked_at, at, after
        self.commits = CONTEXT.Value("i", 0)

    def turn(self, run: RunRow) -> bool:
        child = process(self._advance, run.id)
        child.join(60)
        assert child.exitcode in (0, DEAD), child.exitcode
        return bool(child.exitcode == DEAD)

    def _advance(self, run_id: str) -> None:
        real = checkpoint.write

        def dying(*given: Any) -> bool:
            self.commits.value += 1
            number = self.commits.value
            if number == self.asked_at:
                self._ask(run_id)
            if number == self.at and not self.after:
                os._exit(DEAD)
            written = real(*given)
            if number == self.at:
                os._exit(DEAD)
            return written

        checkpoint.write = dying  # type: ignore[assignment]
        engine.advance(run_id, f"wrk_{os.getpid()}")
        os._exit(0)

    def _ask(self, run_id: str) -> None:
        """As somebody else, on a connection of their own."""

        def ask() -> None:
            getattr(services, f"{self.verb}_run")(run_id, actor=OMAR, reason="stop it")
            connection.close()

        person = threading.Thread(target=ask)
        person.start()
        person.join(20)
        assert not person.is_alive()


def caretake(run: RunRow) -> None:
    """What caretakers do once the process is gone for certain and time has passed."""
    row = RunRow.objects.get(pk=run.pk)
    if row.lease_owner:
        services.rescue_run(row.id, row.lease_epoch, reason="it died", died=True, proven=True, alone=False)
    past = row.created_at.replace(year=2020)
    Step.objects.filter(run=run).exclude(not_before=None).update(not_before=past)
    Step.objects.filter(run=run, state="waiting").update(due_at=past)
    RunRow.objects.filter(pk=run.pk, state__in=["waiting", "cancelling"]).exclude(wake_at=None).update(
        wake_at=past
    )
    timers.wake_due_runs()


def settle(run: RunRow, world: Path) -> None:
    """A launch that may have happened stops the run: a person looks, and says what they found."""
    row = RunRow.objects.get(pk=run.pk)
    ToolCall.objects.filter(run_id=run.pk).exclude(not_before=None).update(not_before=row.created_at)
    for call in ToolCall.objects.filter(run_id=run.pk, state="unknown"):
        happened = f"launch {call.key}" in lines(world)
        outcome, result = ("happened", "launch") if happened else ("did_not_happen", None)
        calls.settle(call.pk, outcome, result, note="Looked.", by=OMAR)


def play(run: RunRow, deaths: Deaths, world: Path) -> int:
    died = 0
    for _ in range(14):
        died += deaths.turn(run)
        row = RunRow.objects.get(pk=run.pk)
        assert list(journal.verify(row, row.journal.order_by("seq"))) == []
        if row.ended:
            return died
        caretake(run)
        if row.state == "needs_attention":
            settle(run, world)
        row.refresh_from_db()
        if row.state == "paused":
            services.resume_run(run.id, actor=OMAR, reason="go on")
    raise AssertionError(f"it is stuck: {row.state} {row.waiting_for} {row.attention}")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("asked_at", [1, 2, 3, 4])
@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_it_obeys_wherever_its_process_died(world: Path, verb: str, asked_at: int, after: bool) -> None:
    died = []
    for at in range(asked_at, asked_at + 8):
        world.write_text("")
        run = start("p.short")
        died.append(play(run, Deaths(verb, asked_at, at, after=after), world))
        check(RunRow.objects.get(pk=run.pk), verb, world)
    assert died[0] == 1 and sum(died) >= 4, "the fault was there"


def check(row: RunRow, verb: str, world: Path) -> None:
    launches = lines(world, "launch")
    assert len(launches) == len(set(launches)), "what cannot be undone is done once"
    if verb == "pause":
        assert (row.state, row.output) == ("succeeded", ["put", "launch", "put", "launch"])
        assert len(launches) == 2 and len(set(lines(world, "put"))) == 2
        return
    assert row.state == "cancelled"
    asked = max(seqs(row, "run.cancelling"))
    of_the_run = [
        entry.seq
        for entry in row.journal.filter(kind="call.started")
        if not Step.objects.get(pk=entry.step_id).path.startswith("cancel/")
    ]
    assert all(seq < asked for seq in of_the_run)
    assert len(set(lines(world, "clean"))) == 2, "it cleaned up, and each call of that has one key"
    assert not Step.objects.filter(run=row, state__in=["started", "waiting", "held"]).exists()
