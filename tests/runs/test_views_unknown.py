"""The form on a run's page for a call of which nobody knows whether it happened."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pydantic import BaseModel

from runs import engine, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from tools import registry
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.failures import UnknownOutcome
from tools.models import ToolCall

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


class Receipt(BaseModel):
    """What the bank answers."""

    transaction: str
    cents: int


@pytest.fixture(autouse=True)
def workflows(own_registries: None) -> None:
    @registry.tool(effect="irreversible", risk="high", timeout=1)
    def wire(note: str, *, key: IdempotencyKey) -> Receipt:
        raise UnknownOutcome("no answer within 30 s")

    @registry.tool(effect="irreversible", risk="high", timeout=1)
    def ring(times: int, *, key: IdempotencyKey) -> None:
        raise UnknownOutcome("the line went dead")

    @registry.tool(effect="irreversible", risk="high", timeout=1)
    def tell(note: str, *, key: IdempotencyKey) -> str:
        raise UnknownOutcome("no answer")

    @workflow.workflow("t.does")
    def does(run: Run, tool: str) -> Any:
        return run.tool(registry.get(tool), 3 if tool == "ring" else "rent")


def in_doubt(tool: str = "wire") -> ToolCall:
    """A call in doubt that no worker can send any more."""
    run = services.start_run("t.does", tool, actor="user:ana")
    engine.advance(run.id, "wrk_a")
    call = ToolCall.objects.get(run_id=run.id)
    assert call.state == "unknown"
    ToolCall.objects.filter(pk=call.pk).update(not_before=db_now() - timedelta(seconds=1))
    return call


def client_of(name: str, *permissions: str, **options: Any) -> Client:
    person = User.objects.create_user(name)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(**options)
    client.force_login(person)
    return client


@pytest.fixture
def omar() -> Client:
    return client_of("omar", "view_run", "settle_toolcall")


def settle(client: Client, call: ToolCall, status: int, **given: str) -> str:
    """What the page answers to the form: a wire that happened, unless `given` says otherwise."""
    happened = {"outcome": "happened", "field-transaction": "T-17", "field-cents": "950"}
    url = reverse("runs:settle", args=[call.run_id, call.id])
    response = client.post(url, happened | {"reason": "It is in the bank's list"} | given)
    assert response.status_code == status, response.content.decode()
    return unescape(response.content.decode())


def state_of(call: ToolCall) -> str:
    return ToolCall.objects.get(pk=call.pk).state


class TestSettle:
    def test_it_works(self, omar: Client) -> None:
        call = in_doubt()
        page = omar.get(reverse("runs:run", args=[call.run_id])).content.decode()
        for asked in ('name="field-transaction"', 'name="field-cents"', 'value="did_not_happen"'):
            assert asked in page
        settle(omar, call, 303)
        settled = ToolCall.objects.get(pk=call.pk)
        assert (settled.state, settled.settled_by) == ("succeeded", "user:omar")
        assert settled.note == "It is in the bank's list"
        run = RunRow.objects.get(pk=call.run_id)
        assert run.state == "queued"
        engine.advance(run.id, "wrk_a")
        run.refresh_from_db()
        assert (run.state, run.output) == ("succeeded", {"transaction": "T-17", "cents": 950})
        assert "/settle/" not in omar.get(reverse("runs:run", args=[run.id])).content.decode()

    def test_it_did_not_happen_whatever_was_typed_as_its_result(self, omar: Client) -> None:
        call = in_doubt()
        settle(omar, call, 303, outcome="did_not_happen")
        assert state_of(call) == "failed"
        assert RunRow.objects.get(pk=call.run_id).state == "queued"

    def test_a_result_that_is_one_value(self, omar: Client) -> None:
        call = in_doubt("tell")
        page = omar.get(reverse("runs:run", args=[call.run_id])).content.decode()
        assert "What it returned</label>" in page
        settle(omar, call, 303, **{"field-answer": "told"})
        assert RunRow.objects.get(pk=call.run_id).steps.get().result == "told"

    def test_a_tool_that_returns_nothing_asks_for_nothing(self, omar: Client) -> None:
        call = in_doubt("ring")
        page = omar.get(reverse("runs:run", args=[call.run_id])).content.decode()
        assert 'name="outcome"' in page and 'class="stack returned"' not in page
        settle(omar, call, 303)
        assert state_of(call) == "succeeded"


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"outcome": ""}, "Say whether it happened."),
            ({"outcome": "perhaps"}, "Choose one of the three."),
            ({"reason": " "}, "Say how you know"),
            ({"field-cents": "many"}, "Cents: write a whole number"),
            ({"field-transaction": ""}, "Transaction: write an answer"),
        ],
    )
    def test_it_says_what_is_wrong_and_keeps_what_was_typed(
        self, omar: Client, wrong: dict[str, str], said: str
    ) -> None:
        call = in_doubt()
        page = settle(omar, call, 422, **wrong)
        assert said in page
        assert "T-17" in page or "field-transaction" in wrong
        assert "data-refresh" not in page, "a refresh would take away what was typed"
        assert state_of(call) == "unknown"

    def test_a_result_that_does_not_fit_the_contract(self, omar: Client) -> None:
        call = in_doubt()
        page = settle(omar, call, 409, **{"field-cents": "9.5"})
        assert f"Give the result that {call.id} had: " in page
        assert ">It is in the bank's list</textarea>" in page and 'value="9.5"' in page
        assert state_of(call) == "unknown"

    def test_before_it_is_safe(self, omar: Client) -> None:
        call = in_doubt()
        ToolCall.objects.filter(pk=call.pk).update(not_before=db_now() + timedelta(minutes=5))
        page = settle(omar, call, 409)
        assert "may still be sent by a stalled worker" in page and "no answer is taken" in page
        assert state_of(call) == "unknown"

    @pytest.mark.parametrize("given", [{}, {"field-cents": ""}, {"outcome": ""}])
    def test_somebody_was_first(self, omar: Client, given: dict[str, str]) -> None:
        call = in_doubt()
        calls.settle(call.id, "did_not_happen", note="No such key", by="user:bea")
        page = settle(omar, call, 409, **given)
        assert re.search(
            r"bea was first and settled wire at [0-9:]{8} UTC: it did not happen\. Nothing was done", page
        )
        assert "What you wrote" in page and "It is in the bank's list" in page
        assert ToolCall.objects.get(pk=call.pk).settled_by == "user:bea"

    def test_somebody_is_quicker_by_a_blink(self, omar: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        call = in_doubt()
        mine = calls.settle

        def late(*given: Any, **more: Any) -> ToolCall:
            mine(call.id, "did_not_happen", note="No such key", by="user:bea")
            return mine(*given, **more)

        monkeypatch.setattr(calls, "settle", late)
        page = settle(omar, call, 409)
        assert "there is nothing to settle. Nothing was done." in page and "What you wrote" in page

    def test_a_call_that_was_never_in_doubt(self, omar: Client) -> None:
        call = in_doubt()
        calls.settle(call.id, "did_not_happen", note="No such key", by="user:bea")
        ToolCall.objects.filter(pk=call.pk).update(settled_by="")
        assert "wire is failed, so there is nothing to settle." in settle(omar, call, 409)

    def test_code_that_is_gone(self, omar: Client) -> None:
        call = in_doubt()
        ToolCall.objects.filter(pk=call.pk).update(tool="wire_of_old")
        page = settle(omar, call, 409, **{"field-answer": '{"transaction": "T-17", "cents": 950}'})
        assert "cannot be checked without it" in page
        assert state_of(call) == "unknown"

    def test_a_call_of_another_run(self, omar: Client) -> None:
        one, other = in_doubt(), in_doubt("tell")
        url = reverse("runs:settle", args=[other.run_id, one.id])
        assert omar.post(url, {"outcome": "did_not_happen", "reason": "n"}).status_code == 404
        assert state_of(one) == "unknown"

    def test_whoever_may_not(self) -> None:
        call = in_doubt()
        assert "tools.settle_toolcall" in settle(client_of("ben", "view_run", "control_run"), call, 403)
        settle(client_of("eve", "settle_toolcall"), call, 403)
        settle(Client(), call, 302)
        assert state_of(call) == "unknown"

    def test_a_form_of_another_site_and_a_link(self) -> None:
        call = in_doubt()
        settle(client_of("omar", "view_run", "settle_toolcall", enforce_csrf_checks=True), call, 403)
        client = client_of("bea", "view_run", "settle_toolcall")
        assert client.get(reverse("runs:settle", args=[call.run_id, call.id])).status_code == 405
        assert state_of(call) == "unknown"
