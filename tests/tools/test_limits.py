"""Limits that all workers share: no more calls than a tool allows, and who is first in line is next."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.together import at_once
from tools import limits, ports
from tools.contract import Tool
from tools.options import Limit
from tools.protection import Ticket, TicketState, ToolLimit
from tools.registry import tool

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
START = datetime(2026, 1, 1, tzinfo=UTC)


def ask(what: str) -> str:
    return what


def limited(limit: Limit) -> Tool:
    return tool(effect="read", name="test_ask", timeout=10, limit=limit)(ask)


class Clock:
    """The database's clock, moved by the test."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "db_now", clock)
    return clock


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    runs: list[str] = []

    def wake(run_id: str) -> bool:
        runs.append(run_id)
        return not run_id.startswith("ended")

    monkeypatch.setattr(ports, "wake_run", wake)
    return runs


def after(tool: Tool, key: str) -> float | None:
    """For how many seconds the call must wait; None when it may be begun."""
    wait = limits.reserve(tool, key, f"run_{key}")
    return None if wait is None else (wait.until - limits.db_now()).total_seconds()


def test_a_rate_works(clock: Clock) -> None:
    rated = limited(Limit(per_second=2, burst=2))
    assert [after(rated, key) for key in "abcde"] == [None, None, 0.5, 1.0, 1.5]
    clock.passes(0.5)
    assert after(rated, "d") == 0.5  # woken too early: it keeps its moment
    assert after(rated, "c") is None
    clock.passes(10)
    assert [after(rated, key) for key in "de"] == [None, None]
    assert after(rated, "f") == 0.5
    assert Ticket.objects.count() == 1


def test_those_who_come_late_together_begin_one_after_the_other(clock: Clock) -> None:
    rated = limited(Limit(per_second=1))
    assert [after(rated, key) for key in "abcd"] == [None, 1.0, 2.0, 3.0]
    clock.passes(30)
    assert [after(rated, key) for key in "bcd"] == [None, 1.0, 2.0]
    clock.passes(1)
    assert [after(rated, key) for key in "cd"] == [None, 1.0]


def test_places_work(clock: Clock, woken: list[str]) -> None:
    placed = limited(Limit(at_once=2))
    assert [after(placed, key) for key in "abcd"] == [None, None, 30.0, 30.0]
    assert (limits.under_way_at("test_ask"), limits.waiting_at("test_ask")) == (2, 2)
    limits.give_back(placed, "a")
    assert woken == ["run_c"]
    assert after(placed, "e") == 30.0  # behind d, though it came by just now
    assert after(placed, "c") is None
    limits.give_back(placed, "c")
    limits.give_back(placed, "c")  # twice is once
    assert woken == ["run_c", "run_d"]
    assert after(placed, "b") is None  # again, after its worker died


def test_a_place_of_a_dead_worker_lapses(clock: Clock, woken: list[str]) -> None:
    placed = limited(Limit(at_once=1))
    assert after(placed, "a") is None
    assert after(placed, "b") == 30.0
    clock.passes(39.9)  # the timeout of 10 s, and 30 s
    assert limits.call_up() == 0
    clock.passes(0.2)
    assert limits.call_up() == 1
    assert woken == ["run_b"]
    clock.passes(60)  # it was called up, and never came
    limits.call_up()
    assert after(placed, "c") is None


def test_a_run_that_has_ended_keeps_nobody_waiting(clock: Clock, woken: list[str]) -> None:
    placed = limited(Limit(at_once=1))
    assert after(placed, "a") is None
    limits.reserve(placed, "b", "ended_1")
    clock.passes(0.1)
    limits.reserve(placed, "c", "ended_2")
    clock.passes(0.1)
    assert after(placed, "d") == 30.0
    limits.give_back(placed, "a")
    assert woken == ["ended_1", "ended_2", "run_d"]
    assert [ticket.key for ticket in Ticket.objects.all()] == ["d"]


def test_a_place_that_nobody_was_told_of_is_found(clock: Clock, woken: list[str]) -> None:
    placed = limited(Limit(at_once=1))
    assert after(placed, "a") is None
    assert after(placed, "b") == 30.0
    Ticket.objects.filter(pk="a").delete()  # whoever gave it back died right then
    assert limits.call_up() == 1
    assert woken == ["run_b"]


def test_a_pause_that_the_other_side_asked_for_holds_everybody_back(clock: Clock) -> None:
    rated = limited(Limit(per_second=10))
    limits.hold_back(rated, 20)
    limits.hold_back(rated, 5)  # a shorter one cuts no longer one short
    assert [after(rated, key) for key in "ab"] == [20.0, 20.0]
    clock.passes(20)
    assert [after(rated, key) for key in "ab"] == [None, pytest.approx(0.1)]


@pytest.mark.parametrize("seconds", [None, 0, -5, float("nan")])
def test_a_pause_that_cannot_be_is_none(clock: Clock, seconds: float | None) -> None:
    rated = limited(Limit(per_second=10))
    limits.hold_back(rated, seconds)
    assert after(rated, "a") is None


def test_a_tool_without_a_limit_costs_nothing(django_assert_num_queries: Any) -> None:
    bare = tool(effect="read", name="test_bare")(ask)
    with django_assert_num_queries(0):
        assert limits.reserve(bare, "a", "run_a") is None
        limits.give_back(bare, "a")
        limits.hold_back(bare, 10)


def test_a_limit_that_was_taken_away_lets_everybody_go(clock: Clock, woken: list[str]) -> None:
    placed = limited(Limit(at_once=1))
    assert [after(placed, key) for key in "ab"] == [None, 30.0]
    placed.limit = None
    limits.call_up()
    assert woken == ["run_b"]
    assert limits.waiting_at("test_ask") == 0


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    per_second=st.sampled_from([0.5, 2.0, 10.0]),
    burst=st.integers(1, 4),
    comings=st.lists(st.tuples(st.integers(0, 11), st.floats(0, 2)), min_size=10, max_size=60),
)
def test_no_order_of_comings_begins_more_than_the_rate(
    per_second: float, burst: int, comings: list[tuple[int, float]]
) -> None:
    Ticket.objects.all().delete()
    ToolLimit.objects.all().delete()
    rated = Tool(ask, effect="read", name="test_ask", limit=Limit(per_second=per_second, burst=burst))
    clock, begun = Clock(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "db_now", clock)
        for number, seconds in comings:
            clock.passes(seconds)
            if limits.reserve(rated, f"k{number}", "run_1") is None:
                begun.append((clock.now - START).total_seconds())
    for first in range(len(begun)):
        for last in range(first, len(begun)):
            allowed = burst + (begun[last] - begun[first]) * per_second
            assert last - first + 1 <= allowed + 1e-3


def together(placed: Tool, ledger: Path, seconds: float) -> Callable[[int], Any]:
    """Asks again and again until it may begin; writes down when it began and when it was over."""

    def play(player: int) -> int:
        done, number = 0, 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            key = f"p{player}-{number}"
            wait = limits.reserve(placed, key, "run_1")
            if wait is not None:
                continue
            with ledger.open("a") as file:
                file.write(f"{time.monotonic()} +\n")
            with ledger.open("a") as file:
                file.write(f"{time.monotonic()} -\n")
            limits.give_back(placed, key)
            done, number = done + 1, number + 1
        return done

    return play


@pytest.mark.postgres
def test_eight_processes_never_have_more_than_two_at_once(tmp_path: Path) -> None:
    placed, ledger = limited(Limit(at_once=2)), tmp_path / "ledger"
    play = together(placed, ledger, 3)
    (done,) = at_once(1, [lambda _, player=player: play(player) for player in range(8)])
    under_way = most = 0
    for line in ledger.read_text().splitlines():
        under_way += 1 if line.endswith("+") else -1
        most = max(most, under_way)
    assert most <= 2
    assert sum(done) > 20
    assert sum(1 for each in done if each) > 1


@pytest.mark.postgres
def test_eight_processes_begin_no_more_than_the_rate(tmp_path: Path) -> None:
    rated, ledger = limited(Limit(per_second=20, burst=5)), tmp_path / "ledger"
    play = together(rated, ledger, 3)
    (done,) = at_once(1, [lambda _, player=player: play(player) for player in range(8)])
    began = sorted(float(line.split()[0]) for line in ledger.read_text().splitlines() if "+" in line)
    assert 30 <= sum(done) <= 20 * 3 + 5 + 2
    for first in range(len(began) - 30):
        # 30 calls need at least 25 / 20 s; what a busy machine takes from the write to the line is allowed.
        assert began[first + 29] - began[first] > 1.25 - 0.3


def test_granted_is_a_state_that_only_grant_reaches() -> None:
    ticket = Ticket(key="a", tool="t", run_id="run_1", starts_at=START, until=START)
    with pytest.raises(AttributeError):
        ticket.state = TicketState.GRANTED.value
