"""Breakers that all workers share: one row, one probe, and what happens when the row cannot be reached."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

from tests.together import at_once
from tools import breakers
from tools.breaker import Sample
from tools.contract import ContractError, IdempotencyKey, InvalidOutput, Tool
from tools.failures import Fatal, InvalidData, RateLimited, ToolUnavailable, Transient
from tools.options import Breaker
from tools.protection import BreakerMove, ToolBreaker
from tools.registry import tool

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
OPTIONS = Breaker(failures=0.5, least=4, rest=1, most_rest=2, slow_after=5)


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    breakers.forget()
    yield
    breakers.forget()


def ask(what: str) -> str:
    return what


def pay(amount: int, *, key: IdempotencyKey) -> str:
    return key


@pytest.fixture
def reading() -> Tool:
    return tool(effect="read", name="test_ask", breaker=OPTIONS)(ask)


@pytest.fixture
def payment() -> Tool:
    return tool(effect="irreversible", name="test_pay", breaker=OPTIONS)(pay)


def fails(one: Tool, times: int = 4) -> None:
    for number in range(times):
        breakers.observe(one, f"f{number}", Transient("down"), 0.1)


def rest_is_over(one: Tool) -> None:
    """As if the rest had passed: nothing here waits for a clock."""
    ToolBreaker.objects.filter(pk=one.name).update(retry_at="2020-01-01T00:00:00Z")
    breakers.forget()


def passes(one: Tool, key: str) -> bool:
    try:
        breakers.take(one, key)
    except ToolUnavailable:
        return False
    return True


def moves(one: Tool) -> list[str]:
    rows = BreakerMove.objects.filter(tool=one.name)
    return [f"{row.before} > {row.after}" for row in rows]


def test_it_works(reading: Tool) -> None:
    assert passes(reading, "k1")
    fails(reading)
    with pytest.raises(ToolUnavailable, match="4 of the last 4 calls failed") as caught:
        breakers.must_be_available(reading, "k2")
    assert 0 < (caught.value.retry_after or 0) <= 1
    rest_is_over(reading)
    assert passes(reading, "k3")
    assert passes(reading, "k3")  # the same call, after its worker died
    assert not passes(reading, "k4")
    breakers.observe(reading, "k3", None, 0.1)
    assert passes(reading, "k4")
    assert moves(reading) == ["closed > open", "open > half_open", "half_open > closed"]


def test_a_probe_that_fails_makes_the_next_rest_longer(reading: Tool) -> None:
    fails(reading)
    rest_is_over(reading)
    assert passes(reading, "k1")
    breakers.observe(reading, "k1", Transient("still down"), 0.1)
    row = ToolBreaker.objects.get()
    assert (row.state, row.trips) == ("open", 2)
    assert row.retry_at is not None
    assert (row.retry_at - row.changed_at).total_seconds() == pytest.approx(2.0)


def test_a_probe_that_was_not_begun_leaves_its_place(reading: Tool) -> None:
    fails(reading)
    rest_is_over(reading)
    assert passes(reading, "k1")
    breakers.give_back(reading, "k2")  # not the one that is out
    assert not passes(reading, "k2")
    breakers.give_back(reading, "k1")
    assert passes(reading, "k2")


def test_calls_that_go_well_cost_nothing(reading: Tool, django_assert_num_queries: Any) -> None:
    assert passes(reading, "k0")
    with django_assert_num_queries(0):
        for number in range(50):
            assert passes(reading, f"k{number}")
            breakers.observe(reading, f"k{number}", None, 0.1)


def test_calls_that_went_well_elsewhere_keep_it_closed(
    reading: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "SHARE_EVERY", 0.0)
    for number in range(10):
        breakers.observe(reading, f"k{number}", None, 0.1)
    breakers.forget()  # another process
    fails(reading, 5)
    assert passes(reading, "k1")
    fails(reading, 5)
    assert not passes(reading, "k2")


def test_a_tool_without_a_breaker_is_never_kept(django_assert_num_queries: Any) -> None:
    bare = tool(effect="read", name="test_bare")(ask)
    with django_assert_num_queries(0):
        fails(bare, 100)
        assert passes(bare, "k1")
        breakers.give_back(bare, "k1")


@pytest.mark.parametrize(
    ("error", "seconds", "sample"),
    [
        (None, 0.1, Sample.OK),
        (None, 5.0, Sample.SLOW),
        (Transient("x"), 0.1, Sample.FAILED),
        (TimeoutError("x"), 0.1, Sample.FAILED),
        (ToolUnavailable("the bank says so"), 0.1, Sample.FAILED),
        (InvalidOutput("t", ["x"]), 0.1, Sample.FAILED),
        (RateLimited("x"), 0.1, Sample.NOTHING),
        (InvalidData("x"), 0.1, Sample.NOTHING),
        (Fatal("x"), 0.1, Sample.NOTHING),
        (ZeroDivisionError(), 0.1, Sample.NOTHING),
        (PermissionError("x"), 0.1, Sample.OK),
    ],
)
def test_what_a_call_says_about_the_other_side(
    error: Exception | None, seconds: float, sample: Sample
) -> None:
    assert breakers.sample_of(OPTIONS, error, seconds) is sample


@contextmanager
def no_rows() -> Iterator[None]:
    """The store is lost: its table is not there."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tools_toolbreaker RENAME TO tools_toolbreaker_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE tools_toolbreaker_away RENAME TO tools_toolbreaker")


def test_without_its_rows_irreversible_calls_are_refused_and_others_go_by_their_own_counts(
    reading: Tool, payment: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "READ_EVERY", 0.0)
    with no_rows():
        with pytest.raises(ToolUnavailable, match="is not known"):
            breakers.take(payment, "k1")
        assert passes(reading, "k1")
        fails(reading)
        assert not passes(reading, "k2")
        monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + 1.5)
        assert passes(reading, "k3")
        assert not passes(reading, "k4")
        breakers.observe(reading, "k3", None, 0.1)
        assert passes(reading, "k4")
    assert passes(payment, "k1")
    assert not ToolBreaker.objects.exists()


def test_what_is_lost_within_a_transaction_harms_it_not(reading: Tool) -> None:
    with no_rows(), transaction.atomic():
        assert passes(reading, "k1")
        assert not BreakerMove.objects.exists()  # the transaction goes on


def test_a_person_opens_and_closes_it(reading: Tool) -> None:
    with pytest.raises(ValueError, match="why"):
        breakers.close_by_hand(reading, reason=" ", actor="user:omar")
    breakers.open_by_hand(reading, 600, reason="the bank called", actor="user:omar")
    with pytest.raises(ToolUnavailable, match=r"the bank called \(by hand\)"):
        breakers.take(reading, "k1")
    breakers.close_by_hand(reading, reason="it is back", actor="user:omar")
    assert passes(reading, "k1")
    told = [(move.actor, move.reason, move.after) for move in BreakerMove.objects.all()]
    assert told == [("user:omar", "the bank called", "open"), ("user:omar", "it is back", "closed")]


def test_what_has_no_breaker_cannot_be_opened() -> None:
    bare = tool(effect="read", name="test_bare")(ask)
    with pytest.raises(ValueError, match="declares no breaker"):
        breakers.open_by_hand(bare, 60, reason="why", actor="user:omar")


def test_options_of_another_kind_are_refused() -> None:
    with pytest.raises(ContractError, match="breaker"):
        tool(effect="read", name="test_wrong", breaker=0.5)(ask)  # type: ignore[arg-type]


@pytest.mark.postgres
def test_of_eight_processes_exactly_one_goes_out_to_see_each_time(reading: Tool) -> None:
    """All eight ask at the same moment; whoever passed comes back well or badly, and all ask again."""
    fails(reading)
    rest_is_over(reading)

    def playing(player: int) -> Any:
        out = []

        def play(number: int) -> bool:
            breakers.forget()
            key = f"p{player}-{number}"
            if number % 2 == 0 and passes(reading, key):
                out.append(key)
            elif number % 2 and out:
                breakers.must_be_available(reading, out[0])
                breakers.observe(reading, out.pop(), Transient("down") if number % 4 == 1 else None, 0.1)
                fails(reading)
                rest_is_over(reading)
                return True
            return bool(out)

        return play

    said = at_once(60, [playing(player) for player in range(8)])
    assert [sum(each) for each in said] == [1] * 60
    assert moves(reading).count("open > half_open") == 30
    assert moves(reading).count("half_open > closed") == 15
