"""A run's page for somebody who sees it for the first time: on whose word it runs, when, how it failed."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from runs import engine, services, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import WorkflowVersion
from runs.templatetags.screens import ahead, moment
from tools import registry
from tools.failures import Refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


@pytest.fixture(autouse=True)
def workflows(own_registries: None) -> None:
    @registry.tool(effect="read")
    def peek(place: str) -> str:
        if place == "cellar":
            raise Refused("locked")
        return place

    @workflow.workflow("t.looks")
    def looks(run: Run, places: list[str]) -> None:
        for place in places:
            run.tool(peek, place)

    @workflow.workflow("t.breaks")
    def breaks(run: Run, case: int) -> None:
        run.tool(peek, "attic")
        raise ValueError("no closing balance")

    @workflow.workflow("t.naps")
    def naps(run: Run, times: int) -> None:
        for number in range(times):
            run.tool(peek, f"room {number}")
        run.sleep(3600)

    @workflow.workflow("t.mother")
    def mother(run: Run, case: int) -> None:
        run.child("t.naps", 0, wait=False)
        run.gather(run.later(run.child, "t.naps", 0), run.later(run.child, "t.naps", 0))


@pytest.fixture
def omar(client: Client) -> User:
    person = User.objects.create_user("omar", password="x")
    wanted = ("view_run", "control_run", "view_technical", "activate_workflow")
    person.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    client.force_login(person)
    return person


def begun(name: str, value: Any, intent: str = "") -> RunRow:
    run = services.start_run(name, value, actor="user:omar", intent=intent)
    engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    return run


def text_of(client: Client, url: str, status: int = 200) -> str:
    """What a reader sees of a page, on one line."""
    response = client.get(url)
    assert response.status_code == status
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def page_of(client: Client, run: RunRow) -> str:
    return text_of(client, reverse("runs:run", args=[run.id]))


class TestActivation:
    def test_it_names_who_when_and_why(self, client: Client, omar: User, settings: Any) -> None:
        settings.HOLDPOINT_ACTIVATION = True
        services.activate_version("t.looks", 1, actor="user:omar", reason="Tried on ten old cases")
        run = begun("t.looks", ["attic"])
        services.retire_version("t.looks", 1, actor="user:omar", reason="No longer")
        row = WorkflowVersion.history.get(name="t.looks", state="active")
        page = page_of(client, run)
        assert f"Activated by omar {row.activated_at:%H:%M:%S} UTC: Tried on ten old cases" in page
        assert "other code" not in page

    def test_other_code_is_told(self, client: Client, omar: User, settings: Any) -> None:
        settings.HOLDPOINT_ACTIVATION = True
        services.activate_version("t.looks", 1, actor="user:omar", reason="Tried")
        run = begun("t.looks", ["attic"])
        RunRow.objects.filter(pk=run.id).update(code="0" * 64)
        assert "with other code than this run began with" in page_of(client, run)

    def test_nobody_had_to(self, client: Client, omar: User, settings: Any) -> None:
        run = begun("t.looks", ["attic"])
        settings.HOLDPOINT_ACTIVATION = True
        services.activate_version("t.looks", 1, actor="user:omar", reason="Later")
        assert "Activated by nobody nobody had to when it was asked for" in page_of(client, run)


class TestFailed:
    def test_a_step_that_failed_is_named_and_can_be_retried(self, client: Client, omar: User) -> None:
        run = begun("t.looks", ["attic", "cellar"])
        assert run.state == "failed"
        page = page_of(client, run)
        assert "Step 2, peek , failed" in page
        assert "Retry: It tries again: step 2 (peek)." in page
        assert "Retry Fork Each says first" in page

    def test_code_that_failed_is_named(self, client: Client, omar: User) -> None:
        page = page_of(client, begun("t.breaks", 1))
        assert "No step failed: the workflow’s own code ended it, in test_views_run_page.py:" in page
        assert "How it ended" in page and "What it returned" not in page

    def test_who_may_not_is_told_whom_to_ask(self, client: Client, omar: User) -> None:
        run = begun("t.breaks", 1)
        omar.user_permissions.remove(Permission.objects.get(codename="control_run"))
        page = page_of(client, run)
        assert "ask an operator" in page and "Each says first" not in page


def test_a_long_run_shows_its_last_steps_and_where_it_stands(client: Client, omar: User) -> None:
    page = page_of(client, begun("t.naps", 203))
    assert "Waiting for the clock" in page
    assert "The last 200 of 204" in page


def test_a_long_name_does_not_push_the_state_away(client: Client, omar: User) -> None:
    run = begun("t.looks", ["attic"], intent="x" * 900)
    response = client.get(reverse("runs:run", args=[run.id])).content.decode()
    heading = response.partition("<h1>")[2].partition("</h1>")[0]
    assert len(heading) == 200
    assert "x" * 900 in response  # folded away, and all of it


def test_a_time_of_another_day_has_its_date(omar: User) -> None:
    run = begun("t.looks", ["attic"])
    assert f">{run.created_at:%H:%M:%S}<" in moment(run.created_at, "clock")
    yesterday = run.created_at - timedelta(days=1)
    assert f">{yesterday:%Y-%m-%d %H:%M:%S}<" in moment(yesterday, "clock")


def test_a_moment_that_has_passed_is_not_ahead(omar: User) -> None:
    run = begun("t.looks", ["attic"])
    assert not ahead(run.created_at) and not ahead(None)
    assert ahead(run.created_at + timedelta(days=1))


def test_a_question_says_whether_it_was_answered(client: Client, omar: User) -> None:
    @workflow.workflow("t.asks")
    def asks(run: Run, case: int) -> str:
        return str(run.ask("Which account?", to="user:omar"))

    run = begun("t.asks", 1)
    omar.user_permissions.add(Permission.objects.get(codename="answer_question"))
    address = reverse("runs:question", args=[run.id, run.steps.get().id])
    assert "Waiting for an answer" in text_of(client, address)
    assert client.post(address, {"field-answer": "main"}).status_code == 303
    assert "? Answered" in text_of(client, address)


class TestControl:
    def test_cancelling_tells_of_the_children(self, client: Client, omar: User) -> None:
        run = begun("t.mother", 1)
        page = text_of(client, reverse("runs:control", args=[run.id, "cancel"]))
        assert "2 child runs that it waits for: cancelled with it." in page
        assert "1 child run that it does not wait for: not cancelled." in page
        page = text_of(client, reverse("runs:control", args=[run.id, "pause"]))
        assert "3 child runs: not paused with it." in page

    def test_what_a_step_would_do_stands_beside_the_button_for_it(self, client: Client, omar: User) -> None:
        run = begun("t.looks", ["attic", "hall", "cellar"])
        address = reverse("runs:control", args=[run.id, "retry"])
        page = client.get(address, {"step": "2"}).content.decode()
        assert "It goes back to step 2" in page
        assert 'name="step" value="2"' in page and "Retry this run from step 2</button>" in page
        whole = client.get(address).content.decode()
        assert "It tries again: step 3 (peek)." in whole and "Retry this run</button>" in whole

    def test_a_fork_begins_with_the_last_step(self, client: Client, omar: User) -> None:
        run = begun("t.looks", ["attic", "hall"])
        page = text_of(client, reverse("runs:control", args=[run.id, "fork"]))
        assert "Fork this run before step 2" in page and "what is on record before step 2" in page

    def test_a_refusal_offers_no_button_and_keeps_what_was_typed(self, client: Client, omar: User) -> None:
        run = begun("t.looks", ["attic", "cellar"])
        given = {"step": "9", "reason": "Once more, <b>please</b>"}
        answer = client.post(reverse("runs:control", args=[run.id, "retry"]), given)
        page = answer.content.decode()
        assert answer.status_code == 409
        assert (
            "Retry this run" not in page.partition("<form")[2].partition("</main>")[0].partition("</h2>")[2]
        )
        assert "Once more, &lt;b&gt;please&lt;/b&gt;" in page
