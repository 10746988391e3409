"""The page on which a person grants a run more than its budget."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pydantic import BaseModel

from runs import engine, services, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.workflow import Budget
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)


class Case(BaseModel):
    """An input."""


@pytest.fixture
def stopped() -> RunRow:
    @tool(effect="read")
    def look(place: int) -> str:
        """Look."""
        return "seen"

    @workflow.workflow("test.grant_page", budget=Budget(tool_calls=1))
    def calls(run: Run, case: Case) -> str:
        for place in range(2):
            run.tool(look, place)
        return "all"

    run = services.start_run("test.grant_page", {}, actor="user:ana")
    engine.advance(run.id, "wrk_test")
    run.refresh_from_db()
    return run


def client_of(name: str, *permissions: str) -> Client:
    person = User.objects.create_user(name)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def omar() -> Client:
    return client_of("omar", "view_run", "grant_budget")


def send(client: Client, run: RunRow, **values: str) -> int:
    given = {"measure": "tool_calls", "amount": "3", "reason": "a long case"} | values
    return client.post(reverse("runs:grant", args=[run.id]), given).status_code


class TestGrantPage:
    def test_it_works(self, omar: Client, stopped: RunRow) -> None:
        page = omar.get(reverse("runs:run", args=[stopped.id])).content.decode()
        assert reverse("runs:grant", args=[stopped.id]) in page
        form = omar.get(reverse("runs:grant", args=[stopped.id])).content.decode()
        assert "The budget of 1 tool calls is used up." in form
        assert '<option value="tool_calls" selected>' in form
        assert send(omar, stopped) == 303
        stopped.refresh_from_db()
        assert (stopped.state, stopped.granted) == ("queued", {"tool_calls": 3.0})

    @pytest.mark.parametrize(
        "wrong", [{"amount": ""}, {"amount": "much"}, {"reason": " "}, {"measure": "wishes"}]
    )
    def test_it_says_what_is_wrong_and_keeps_what_was_typed(
        self, omar: Client, stopped: RunRow, wrong: dict[str, str]
    ) -> None:
        assert send(omar, stopped, **wrong) == 422
        stopped.refresh_from_db()
        assert (stopped.state, stopped.granted) == ("needs_attention", {})

    @pytest.mark.parametrize("amount", ["0", "-4"])
    def test_it_grants_no_less_than_something(self, omar: Client, stopped: RunRow, amount: str) -> None:
        assert send(omar, stopped, amount=amount) == 409
        stopped.refresh_from_db()
        assert stopped.granted == {}

    def test_only_who_may_grant(self, stopped: RunRow) -> None:
        ben = client_of("ben", "view_run", "control_run")
        assert ben.get(reverse("runs:grant", args=[stopped.id])).status_code == 403
        assert send(ben, stopped) == 403
        assert "ask an operator" in ben.get(reverse("runs:run", args=[stopped.id])).content.decode()
        stopped.refresh_from_db()
        assert stopped.granted == {}

    def test_there_must_be_such_a_run(self, omar: Client) -> None:
        assert omar.get(reverse("runs:grant", args=["run_nothere"])).status_code == 404
