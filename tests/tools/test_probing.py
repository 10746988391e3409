"""The caretaker asks the lookups of calls in doubt by itself: not too early, rarer each time, and once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from tests.tools.test_tool_calls import in_doubt, pay
from tools import ports, timers
from tools.clock import db_now
from tools.contract import Tool
from tools.models import Inquiry, ToolCall
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def payment() -> Tool:
    return tool(effect="irreversible", name="test_pay", timeout=5)(pay)


@pytest.fixture
def asked(payment: Tool) -> list[str]:
    """The keys that the lookup was asked about; it finds those of `there`."""
    keys: list[str] = []

    @payment.lookup
    def _(key: str) -> Any:
        keys.append(key)
        return {"number": key} if key == "k_there" else None

    return keys


def states() -> list[str]:
    return list(ToolCall.objects.order_by("started_at", "id").values_list("state", flat=True))


def later(by: timedelta) -> None:
    """As if so much time had passed."""
    Inquiry.objects.update(look_at=F("look_at") - by)


def test_it_works(asked: list[str]) -> None:
    in_doubt(key="k_there"), in_doubt(key="k_not_there")
    assert timers.probe_in_doubt() == 2
    assert (asked, states()) == (["k_there", "k_not_there"], ["succeeded", "unknown"])
    settled = ToolCall.objects.get(key="k_there")
    assert settled.settled_by == "caretaker"
    told = Inquiry.objects.get(pk=ToolCall.objects.get(key="k_not_there").pk)
    assert "does not find it: it seems not to have happened" in told.said


def test_a_final_lookup_proves_that_it_did_not_happen(payment: Tool) -> None:
    payment.lookup(final=True)(lambda key: None)
    in_doubt()
    timers.probe_in_doubt()
    assert states() == ["failed"]


def test_not_while_it_may_still_be_sent(asked: list[str]) -> None:
    call = in_doubt(600, key="k_there")
    assert timers.probe_in_doubt() == 0
    later(timedelta(hours=1))
    assert (timers.probe_in_doubt(), asked) == (0, [])
    ToolCall.objects.filter(pk=call.pk).update(not_before=db_now())
    assert (timers.probe_in_doubt(), asked) == (1, ["k_there"])


def test_rarer_each_time(asked: list[str]) -> None:
    call, waits = in_doubt(), []
    for _ in range(12):
        timers.probe_in_doubt()
        assert timers.probe_in_doubt() == 0, "not before its time"
        inquiry = Inquiry.objects.get(pk=call.pk)
        assert inquiry.looked_at is not None
        waits.append(round((inquiry.look_at - inquiry.looked_at).total_seconds()))
        later(timedelta(hours=2))
    assert waits == [30, 60, 120, 240, 480, 960, 1920, *[3600] * 5]
    assert len(asked) == 12


def test_rounds_at_once_ask_once(asked: list[str]) -> None:
    in_doubt()
    timers.probe_in_doubt()
    later(timedelta(minutes=1))
    asked.clear()
    together = threading.Barrier(4)

    def sweep() -> int:
        try:
            together.wait(10)
            return timers.probe_in_doubt()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        counts = [one.result() for one in [pool.submit(sweep) for _ in range(4)]]
    assert (sum(counts), len(asked)) == (1, 1)


def test_a_lookup_that_breaks_keeps_nobody_waiting(payment: Tool) -> None:
    @payment.lookup
    def _(key: str) -> Any:
        if key == "k_there":
            return {"number": key}
        raise ConnectionError("no route")

    broken = in_doubt()
    in_doubt(key="k_there")
    timers.probe_in_doubt()
    assert states() == ["unknown", "succeeded"]
    assert "The lookup of test_pay failed" in Inquiry.objects.get(pk=broken.pk).said


def test_a_lookup_that_hangs_is_left(payment: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "ANSWERS_WITHIN", 0.05)
    go_on = threading.Event()
    payment.lookup(lambda key: go_on.wait(30) and None)
    call = in_doubt()
    try:
        assert timers.probe_in_doubt() == 1
    finally:
        go_on.set()
    assert "gave no answer within 0.05 s" in Inquiry.objects.get(pk=call.pk).said
    assert states() == ["unknown"]


def test_batches_by_place(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "BATCH", 2)
    moment = db_now()
    for number in range(5):
        in_doubt(key=f"k{number}", started_at=moment)
    assert [timers.probe_in_doubt() for _ in range(3)] == [2, 2, 1]
    assert sorted(asked) == [f"k{number}" for number in range(5)]


def test_code_that_is_gone_is_left_to_others(asked: list[str]) -> None:
    in_doubt(tool="elsewhere")
    assert timers.probe_in_doubt() == 0
    assert not Inquiry.objects.exists()


def test_without_a_lookup_the_stake_is_noted(payment: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "arguments_of", lambda call: {"amount": 12})
    payment.facts(lambda call: {"amount": call.arguments["amount"], "currency": "EUR"})
    in_doubt()
    assert timers.probe_in_doubt() == 0
    inquiry = Inquiry.objects.get()
    assert (inquiry.amount, inquiry.currency, inquiry.said) == (Decimal(12), "EUR", "")
