"""Orders to stop against processes that write without pause: nothing begins between an order and its end."""

from __future__ import annotations

import multiprocessing
from datetime import datetime
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

import pytest
from django.db import connection
from pydantic import BaseModel

from ops.launch.processes import wait_until
from runs import engine, services, timers, workflow
from runs.context import Run
from runs.models import JournalEntry
from runs.models import Run as RunRow
from tests.runs.conftest import OpenGate
from tools import orders, switches
from tools.contract import IdempotencyKey
from tools.models import ToolCall
from tools.registry import tool

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("open_gate"),
    pytest.mark.postgres,  # where writers go on side by side
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
WRITERS = 8
TOGGLES = 40
SCOPES = [("tool", "race_pay"), ("effect", "write"), ("workflow", "race.pays"), ("everything", "")]


class Nothing(BaseModel):
    """No input."""


def declare() -> None:
    @tool(effect="write", risk="low", rollback="None", name="race_pay")
    def pay(number: int, *, key: IdempotencyKey) -> int:
        return number

    @workflow.workflow("race.pays")
    def pays(run: Run, nothing: Nothing) -> None:
        for number in range(40):
            run.tool(pay, number)


def pay_until(over: Event, number: int, told: Connection) -> None:
    """Run after run, until it is over: one that waits for a release is left, and another is begun."""
    turns = 0
    while not over.is_set():
        run = services.start_run("race.pays", {}, actor=f"user:{number}")
        while not over.is_set() and engine.advance(run.pk, f"wrk_{number}") is engine.Outcome.WAITING:
            turns += 1
            wait_until(lambda: over.is_set() or not orders.read().stops, 30)
    told.send(turns)
    connection.close()


def calls() -> int:
    return ToolCall.objects.count()


def test_nothing_is_begun_between_an_order_and_its_end(open_gate: None) -> None:
    assert OpenGate
    declare()
    connection.close()
    context = multiprocessing.get_context("fork")
    over = context.Event()
    pipes, children = [], []
    for number in range(WRITERS):
        mine, theirs = context.Pipe(duplex=False)
        children.append(context.Process(target=pay_until, args=(over, number, theirs), daemon=True))
        children[-1].start()
        pipes.append(mine)
    windows: list[tuple[datetime, datetime]] = []
    try:
        for toggle in range(TOGGLES):
            seen = calls()
            wait_until(lambda seen=seen: calls() >= seen + 2 * WRITERS, 30)
            switch = switches.kill(*SCOPES[toggle % len(SCOPES)], reason="A race.", by="user:omar")
            switches.release(switch.pk, then="resume", reason="On.", by="user:omar")
            switch.refresh_from_db()
            assert switch.released_at is not None
            windows.append((switch.at, switch.released_at))
    finally:
        over.set()
        waited = sum(pipe.recv() for pipe in pipes if pipe.poll(60))
        for child in children:
            child.join(20)
    _judge(windows, waited)


def _judge(windows: list[tuple[datetime, datetime]], waited: int) -> None:
    begun = JournalEntry.objects.filter(kind="call.started")
    late = [begun.filter(recorded_at__range=window).count() for window in windows]
    assert late == [0] * TOGGLES
    # There was something to stop, each time.
    under_way = [ToolCall.objects.filter(started_at__lt=at, finished_at__gt=at).count() for at, _ in windows]
    assert sum(map(bool, under_way)) > TOGGLES / 4, under_way
    assert waited > TOGGLES, waited
    assert ToolCall.objects.values("key").distinct().count() == calls(), "each was made once"


def test_two_give_the_same_order_at_once_and_there_is_one() -> None:
    from tests.together import at_once

    declare()

    def kill(number: int) -> Any:
        return switches.kill("tool", "race_pay", reason="A race.", by="user:omar").pk

    for first, second, third in at_once(5, [kill, kill, kill]):
        assert first == second == third
    assert RunRow.objects.count() == 0
    assert timers.let_released_go() == 0
