"""The pages of unknown outcomes: the list, the most money first, and the card with the three answers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from runs import engine, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import JournalEntry
from runs.models import Run as RunRow
from tests.runs.test_views_unknown import client_of
from tools import registry, timers
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.failures import UnknownOutcome
from tools.models import Settlement, ToolCall

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]
LIST = "/unknown/"


@pytest.fixture(autouse=True)
def workflows(own_registries: None) -> None:
    @registry.tool(effect="irreversible", risk="high", timeout=1)
    def wire(cents: int, *, key: IdempotencyKey) -> str:
        raise UnknownOutcome("no answer within 30 s")

    wire.facts(lambda call: {"amount": call.arguments["cents"] / 100, "currency": "EUR"})
    wire.lookup(lambda key: None)

    @workflow.workflow("t.wires")
    def wires(run: Run, cents: int) -> Any:
        return run.tool(wire, cents)


def in_doubt(cents: int = 1250) -> ToolCall:
    """A call in doubt that no worker can send any more, with its stake on record."""
    run = services.start_run("t.wires", cents, actor="user:ana", intent=f"Pay {cents}")
    engine.advance(run.id, "wrk_a")
    call = ToolCall.objects.get(run_id=run.id)
    ToolCall.objects.filter(pk=call.pk).update(not_before=db_now() - timedelta(seconds=1))
    return call


@pytest.fixture
def omar() -> Client:
    return client_of("omar", "view_run", "view_toolcall", "settle_toolcall")


def read(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status
    return unescape(response.content.decode())


def say(client: Client, call: ToolCall, outcome: str, status: int = 303, **given: str) -> str:
    said = {"outcome": outcome, "reason": "I looked at the bank", "seen": ""}
    if outcome == "happened":
        said["field-answer"] = "T-17"
    response = client.post(reverse("runs:doubt", args=[call.pk]), said | given)
    assert response.status_code == status, response.content.decode()
    return unescape(response.content.decode())


def state_of(call: ToolCall) -> str:
    return ToolCall.objects.get(pk=call.pk).state


class TestList:
    def test_it_works(self, omar: Client) -> None:
        little, much = in_doubt(1250), in_doubt(99_000)
        timers.probe_in_doubt()
        page = read(omar, LIST)
        assert "12.50 EUR" in page and "990.00 EUR" in page
        assert page.index(much.pk) < page.index(little.pk), "the most money first"
        assert "it seems not to have happened" in page
        assert page.count('class="count">2') == 2, "in the heading and in the navigation"

    def test_nothing_to_do(self, omar: Client) -> None:
        assert "The outcome of every call is known." in read(omar, LIST)

    def test_who_asks_for_a_second_look(self, omar: Client) -> None:
        call = in_doubt()
        say(omar, call, "cannot_tell")
        assert "Asks for a second look" in read(omar, LIST)

    @pytest.mark.usefixtures("orders_known")
    def test_the_number_of_queries_does_not_grow(
        self, omar: Client, django_assert_max_num_queries: Any
    ) -> None:
        for _ in range(4):
            in_doubt()
        with django_assert_max_num_queries(12):
            read(omar, LIST)

    def test_whoever_only_looks(self) -> None:
        call = in_doubt()
        ada = client_of("ada", "view_run", "view_toolcall")
        assert call.pk in read(ada, LIST)
        assert "ask an operator" in read(ada, reverse("runs:doubt", args=[call.pk]))
        say(ada, call, "did_not_happen", 403)
        read(client_of("eve", "view_run"), LIST, 403)
        assert Client().get(LIST).status_code == 302
        assert state_of(call) == "unknown"


class TestCard:
    def test_it_works(self, omar: Client) -> None:
        call = in_doubt()
        page = read(omar, reverse("runs:doubt", args=[call.pk]))
        for shown in (call.key, "Did wire happen?", "sends it again, with the same key", "I cannot tell"):
            assert shown in page
        say(omar, call, "happened", reference="T-17")
        assert state_of(call) == "succeeded"
        assert "It happened." in read(omar, reverse("runs:doubt", args=[call.pk]))
        assert RunRow.objects.get(pk=call.run_id).state == "queued"
        entry = JournalEntry.objects.get(run_id=call.run_id, kind="call.settled")
        assert entry.content is not None and entry.content["reference"] == "T-17"

    def test_who_cannot_tell_leaves_it(self, omar: Client) -> None:
        call = in_doubt()
        say(omar, call, "cannot_tell")
        page = read(omar, reverse("runs:doubt", args=[call.pk]))
        assert "cannot tell, and asks for a second look" in page and "I looked at the bank" in page
        assert "wire" in read(omar, reverse("runs:run", args=[call.run_id])), (
            "the page of its run says so too"
        )
        entry = JournalEntry.objects.get(run_id=call.run_id, kind="call.said")
        assert entry.actor == "user:omar" and "asks for a second look" in entry.sentence
        assert RunRow.objects.get(pk=call.run_id).state == "needs_attention"

    def test_two_people_above_the_limit(self, omar: Client, settings: Any) -> None:
        settings.HOLDPOINT_TWO_PEOPLE_ABOVE = (Decimal(10), "EUR")
        call = in_doubt()
        timers.probe_in_doubt()
        assert "Two people must say the same" in read(omar, reverse("runs:doubt", args=[call.pk]))
        say(omar, call, "happened")
        assert "Waits for a second person" in read(omar, LIST)
        bea = client_of("bea", "view_run", "view_toolcall", "settle_toolcall")
        first = Settlement.objects.get()
        say(bea, call, "did_not_happen", seen=first.pk)
        assert "People say different things" in read(omar, LIST)
        assert state_of(call) == "unknown"
        say(bea, call, "happened", seen=Settlement.objects.order_by("at").last().pk)  # type: ignore[union-attr]
        assert state_of(call) == "succeeded"

    def test_a_page_that_is_out_of_date(self, omar: Client) -> None:
        call = in_doubt()
        calls.settle(call.pk, "cannot_tell", note="No list today", by="user:bea")
        page = say(omar, call, "did_not_happen", 409)
        assert "bea said at" in page and "they cannot tell" in page and "Nothing was done" in page
        assert "I looked at the bank</textarea>" in page, "what was written is kept"
        last = Settlement.objects.get().pk
        assert f'name="seen" value="{last}"' in page
        say(omar, call, "did_not_happen", seen=last)
        assert state_of(call) == "failed"

    def test_somebody_was_first(self, omar: Client) -> None:
        call = in_doubt()
        calls.settle(call.pk, "did_not_happen", note="No such key", by="user:bea")
        page = say(omar, call, "happened", 409)
        assert "bea was first and settled wire at" in page and "What you wrote" in page

    def test_whoever_asked_for_the_run_says_nothing(self) -> None:
        call = in_doubt()
        ana = client_of("ana", "view_run", "view_toolcall", "settle_toolcall")
        assert "somebody else must say what became of it" in read(ana, reverse("runs:doubt", args=[call.pk]))
        assert "somebody else must say" in say(ana, call, "did_not_happen", 409)
        assert not Settlement.objects.exists()

    def test_what_is_wrong_is_said(self, omar: Client) -> None:
        call = in_doubt()
        assert "Say how you know" in say(omar, call, "did_not_happen", 422, reason=" ")
        assert "Say whether it happened" in say(omar, call, "", 422)
        assert "Shorten this to 200" in say(omar, call, "did_not_happen", 422, reference="r" * 201)
        assert state_of(call) == "unknown"

    def test_no_such_call(self, omar: Client) -> None:
        read(omar, "/unknown/call_1/", 404)

    def test_what_an_ended_run_does(self, omar: Client) -> None:
        call = in_doubt()
        services.cancel_run(call.run_id, actor="user:ana", reason="No longer wanted")
        page = read(omar, reverse("runs:doubt", args=[call.pk]))
        assert "the run has ended and stays as it is" in page
        say(omar, call, "did_not_happen")
        assert RunRow.objects.get(pk=call.run_id).state == "cancelled"

    def test_another_site_and_a_link_change_nothing(self) -> None:
        call = in_doubt()
        strict = client_of("omar", "view_toolcall", "settle_toolcall", enforce_csrf_checks=True)
        say(strict, call, "did_not_happen", 403)
        strict.get(reverse("runs:doubt", args=[call.pk]), {"outcome": "did_not_happen", "reason": "x"})
        assert state_of(call) == "unknown"
