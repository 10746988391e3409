"""The list of runs and a run's page: who may see what, and what it says."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pydantic import BaseModel

from runs import engine, messages, services, waits, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Worker
from runs.pages import queries
from runs.waits import Wait
from tools import registry
from tools.contract import IdempotencyKey
from tools.failures import UnknownOutcome
from tools.models import ToolCall

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]
SECRET = "card 4411-0007"


class Case(BaseModel):
    """An input."""

    note: str = SECRET


@pytest.fixture(autouse=True)
def workflows(own_registries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "send", lambda *given: None)

    @registry.tool(effect="read")
    def look_up(note: str) -> str:
        return f"seen: {note}"

    @registry.tool(effect="irreversible", risk="high", timeout=1)
    def wire(note: str, *, key: IdempotencyKey) -> str:
        raise UnknownOutcome("no answer within 30 s")

    @workflow.workflow("test.looks")
    def looks(run: Run, case: Case) -> str:
        return str(run.tool(look_up, case.note))

    @workflow.workflow("test.sleeps")
    def sleeps(run: Run, case: Case) -> None:
        run.sleep(3600)

    @workflow.workflow("test.breaks")
    def breaks(run: Run, case: Case) -> None:
        raise ValueError("no closing\u202e balance")

    @workflow.workflow("test.wires")
    def wires(run: Run, case: Case) -> None:
        run.tool(wire, case.note)


def a_run(
    name: str = "test.looks", *, advance: bool = True, actor: str = "user:ana", intent: str = "", **case: str
) -> RunRow:
    run = services.start_run(name, case, actor=actor, intent=intent)
    if advance:
        engine.advance(run.id, "wrk_test")
    run.refresh_from_db()
    return run


def signed_in(*permissions: str, username: str = "olga") -> Client:
    person = User.objects.create_user(username, password="x")
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def olga() -> Client:
    """Sees runs, and nothing technical."""
    return signed_in("view_run", "view_journalentry", "view_toolcall")


@pytest.fixture
def omar() -> Client:
    """Controls runs."""
    may = (
        "view_run",
        "view_journalentry",
        "view_toolcall",
        "control_run",
        "view_technical",
        "settle_toolcall",
    )
    return signed_in(*may, username="omar")


def text_of(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status
    return response.content.decode()


def page_of(run: RunRow) -> str:
    return reverse("runs:run", args=[run.pk])


class TestRunList:
    def test_it_works(self, olga: Client) -> None:
        run = a_run(intent="Look at order A1")
        page = text_of(olga, reverse("runs:list"))
        assert "Look at order A1" in page
        assert page_of(run) in page
        assert "Succeeded" in page

    def test_no_run_yet(self, olga: Client) -> None:
        assert "There are no runs yet" in text_of(olga, reverse("runs:list"))

    def test_counts_are_what_the_links_lead_to(self, olga: Client) -> None:
        for name in ("test.looks", "test.looks", "test.sleeps", "test.breaks"):
            a_run(name)
        found = olga.get(reverse("runs:list")).context["found"]
        for state, count in found.counts:
            narrowed = olga.get(reverse("runs:list"), {"state": state.value}).context["found"]
            assert len(narrowed.runs) == narrowed.total == count
        assert found.all_states == 4

    @pytest.mark.parametrize(
        ("query", "intents"),
        [
            ({"workflow": "test.sleeps"}, ["nightly"]),
            ({"requester": "bea"}, ["nightly"]),
            ({"requester": "user:bea"}, ["nightly"]),
            ({"text": "LOOK"}, ["look at it"]),
            ({"state": "waiting", "workflow": "test.looks"}, []),
            ({"state": "no such state"}, ["nightly", "look at it"]),
        ],
    )
    def test_filters_are_in_the_address(
        self, olga: Client, query: dict[str, str], intents: list[str]
    ) -> None:
        a_run(intent="look at it")
        a_run("test.sleeps", actor="user:bea", intent="nightly")
        response = olga.get(reverse("runs:list"), query)
        assert [run.intent for run in response.context["found"].runs] == intents
        if not intents:
            assert "Clear filters (2)" in response.content.decode()

    def test_pages_neither_skip_nor_repeat(self, olga: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queries, "PAGE", 2)
        made = [a_run(advance=False).id for _ in range(5)]
        seen, before = [], ""
        for _ in range(3):
            found = olga.get(reverse("runs:list"), {"before": before}).context["found"]
            seen += [run.id for run in found.runs]
            before = found.next_before
        assert (seen, before) == (made[::-1], "")

    def test_reasons_stand_beside_the_state(self, olga: Client) -> None:
        a_run("test.breaks")
        a_run("test.wires")
        page = text_of(olga, reverse("runs:list"))
        assert "no closing" in page
        assert "Nobody knows whether wire happened" in page

    @pytest.mark.usefixtures("orders_known")
    def test_the_number_of_queries_is_constant(self, olga: Client) -> None:
        assert _queries_for(olga, 1) == _queries_for(olga, 6)

    def test_a_decision_of_the_viewers_is_one_click_away(
        self, olga: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = a_run("test.sleeps")
        monkeypatch.setattr(waits, "_finder", lambda ids, viewer: [a_wait(run)])
        assert 'href="/approvals/apr_1/">Review now' in text_of(olga, reverse("runs:list"))


def _queries_for(client: Client, more: int) -> int:
    for _ in range(more):
        a_run()
        a_run("test.sleeps")
    with CaptureQueriesContext(connection) as seen:
        client.get(reverse("runs:list"))
    return len(seen)


def a_wait(run: RunRow, *, may_act: bool = True) -> Wait:
    now = db_now()
    return Wait(
        run_id=run.id,
        step_id="stp_1",
        what="Pay 120.00 back",
        who="Finance",
        since=now,
        until=now + timedelta(hours=1),
        then="the run stops",
        url="/approvals/apr_1/",
        may_act=may_act,
    )


class TestRunPage:
    def test_it_works(self, olga: Client) -> None:
        run = a_run(intent="Look at order A1")
        page = text_of(olga, page_of(run))
        assert re.search(r"<h1>\s*Look at order A1", page)
        assert "the workflow returned its result" in page
        assert 'role="img"' in page

    def test_an_id_that_nobody_knows(self, olga: Client) -> None:
        assert "There is no run run_nothing" in text_of(olga, "/runs/run_nothing/", 404)
        assert olga.get("/runs/apr_1/").status_code == 404

    def test_a_wait_for_a_decision_leads_to_it(self, olga: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        run = a_run("test.sleeps")
        monkeypatch.setattr(waits, "_finder", lambda ids, viewer: [a_wait(run)])
        page = text_of(olga, page_of(run))
        assert "for a decision: Pay 120.00 back" in page
        assert "Depends on Finance" in page
        assert "then the run stops" in page
        assert "Review now" in page

    def test_whoever_may_not_decide_is_offered_nothing(
        self, olga: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = a_run("test.sleeps")
        monkeypatch.setattr(waits, "_finder", lambda ids, viewer: [a_wait(run, may_act=False)])
        assert "Review now" not in text_of(olga, page_of(run))

    def test_a_queued_run_without_workers_says_how_to_start_one(self, olga: Client) -> None:
        run = a_run(advance=False)
        assert "python3 manage.py worker runs" in text_of(olga, page_of(run))
        now = db_now()
        Worker.objects.create(
            id="wrk_1", host="h", pid=1, process_started="1", queues="runs", pool="threads",
            started_at=now, beat_at=now,
        )  # fmt: skip
        assert "ready to go on" in text_of(olga, page_of(run))

    @pytest.mark.parametrize("tab", ["", "?tab=journal", "?tab=calls", "?tab=history", "?tab=nonsense"])
    def test_content_is_for_engineers_alone(self, olga: Client, omar: Client, tab: str) -> None:
        run = a_run()
        assert SECRET not in text_of(olga, page_of(run) + tab)
        if tab == "":
            assert SECRET in text_of(omar, page_of(run))

    def test_every_line_of_the_journal_is_there(self, olga: Client) -> None:
        run = a_run()
        page = text_of(olga, page_of(run) + "?tab=journal")
        for entry in run.journal.all():
            assert f'id="entry-{entry.seq}"' in page
            assert entry.sentence in page

    def test_a_long_journal_is_shown_in_parts(self, olga: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queries, "ENTRIES_SHOWN", 2)
        run = a_run()
        last = olga.get(page_of(run), {"tab": "journal"}).context["journal"]
        assert [entry.seq for entry in last.entries] == [run.head_seq - 1, run.head_seq]
        before = olga.get(page_of(run), {"tab": "journal", "before": last.earlier}).context["journal"]
        assert [entry.seq for entry in before.entries] == [run.head_seq - 3, run.head_seq - 2]
        assert before.later == run.head_seq + 1

    def test_calls_name_the_policy_that_let_them_through(self, olga: Client) -> None:
        page = text_of(olga, page_of(a_run()) + "?tab=calls")
        assert "look_up" in page
        assert "<td>test</td>" in page

    def test_tabs_one_may_not_open_are_absent_and_closed(self) -> None:
        client = signed_in("view_run")
        run = a_run()
        assert "tab=journal" not in text_of(client, page_of(run))
        assert "runs.view_journalentry" in text_of(client, page_of(run) + "?tab=journal", 403)

    def test_text_that_hides_or_reorders_is_spelled_out(self, olga: Client) -> None:
        page = text_of(olga, page_of(a_run("test.breaks", intent="<b>pay</b> \u200bme")))
        assert "no closing\\u202e balance" in page
        assert "&lt;b&gt;pay&lt;/b&gt; \\u200bme" in page

    @pytest.mark.usefixtures("orders_known")
    def test_the_number_of_queries_is_constant(self, olga: Client) -> None:
        @workflow.workflow("test.many")
        def many(run: Run, case: Case) -> None:
            for number in range(int(case.note)):
                run.tool(registry.get("look_up"), str(number))

        counts = []
        for steps in ("1", "12"):
            run = a_run("test.many", note=steps)
            assert run.state == "succeeded"
            for tab in ("", "?tab=journal", "?tab=calls", "?tab=history"):
                with CaptureQueriesContext(connection) as seen:
                    text_of(olga, page_of(run) + tab)
                counts.append((tab, len(seen)))
        assert counts[:4] == counts[4:]


class TestAttention:
    def test_an_unknown_outcome_asks_what_was_found(self, omar: Client) -> None:
        run = a_run("test.wires")
        call = ToolCall.objects.get(run_id=run.id)
        page = text_of(omar, page_of(run))
        assert reverse("runs:settle", args=[run.id, call.id]) in page
        assert call.key in page
        assert "Let it go on" not in page

    def test_whoever_may_not_settle_is_told_whom_to_ask(self, olga: Client) -> None:
        page = text_of(olga, page_of(a_run("test.wires")))
        assert "ask an operator" in page
        assert "/settle/" not in page

    @pytest.fixture
    def halted(self, monkeypatch: pytest.MonkeyPatch) -> RunRow:
        run = a_run("test.sleeps")
        monkeypatch.setitem(
            workflow._registry,
            ("test.sleeps", 1),
            workflow.Workflow("test.sleeps", 1, lambda run, case: None, input_type=Case, output_type=Any),
        )
        RunRow.objects.filter(pk=run.pk).update(wake_at=db_now() - timedelta(seconds=1))
        services.wake_due(run.id)
        engine.advance(run.id, "wrk_test")
        run.refresh_from_db()
        assert run.state == "needs_attention"
        return run

    def test_an_operator_lets_it_go_on(self, omar: Client, halted: RunRow) -> None:
        assert "Let it go on" in text_of(omar, page_of(halted))
        url = reverse("runs:resume", args=[halted.pk])
        response = omar.post(url, {"reason": "the old code is back"})
        assert (response.status_code, response["Location"]) == (303, page_of(halted))
        halted.refresh_from_db()
        assert halted.state == "queued"
        assert "omar let it go on: the old code is back" in text_of(omar, page_of(halted) + "?tab=journal")

    def test_it_needs_a_reason(self, omar: Client, halted: RunRow) -> None:
        response = omar.post(reverse("runs:resume", args=[halted.pk]), {"reason": "  "})
        assert response.status_code == 422
        assert "Say why it may go on" in response.content.decode()
        halted.refresh_from_db()
        assert halted.state == "needs_attention"

    def test_it_needs_the_permission(self, olga: Client, halted: RunRow) -> None:
        assert "Let it go on" not in text_of(olga, page_of(halted))
        response = olga.post(reverse("runs:resume", args=[halted.pk]), {"reason": "please"})
        assert response.status_code == 403
        assert "runs.control_run" in response.content.decode()
        halted.refresh_from_db()
        assert halted.state == "needs_attention"

    def test_a_run_that_needs_nothing_stays_as_it_is(self, omar: Client) -> None:
        run = a_run("test.sleeps")
        response = omar.post(reverse("runs:resume", args=[run.pk]), {"reason": "hurry"})
        assert response.status_code == 409
        assert "is waiting" in response.content.decode()

    def test_get_resumes_nothing(self, omar: Client, halted: RunRow) -> None:
        assert omar.get(reverse("runs:resume", args=[halted.pk])).status_code == 405


class TestDoor:
    PATHS = ("/runs/", "/runs/run_1/", "/queue/", "/approvals/apr_1/")

    @pytest.mark.parametrize("path", PATHS)
    def test_strangers_sign_in_and_come_back(self, client: Client, path: str) -> None:
        response = client.get(path + "?a=b")
        assert response.status_code == 302
        assert response["Location"] == f"/sign-in/?next={path}%3Fa%3Db"
        assert "no-store" in response["Cache-Control"]

    @pytest.mark.parametrize("path", PATHS)
    def test_people_without_permission_are_told_whom_to_ask(self, path: str) -> None:
        client = signed_in()
        page = text_of(client, path, 403)
        assert "Ask an administrator" in page
        assert ".view_" in page

    def test_a_fragment_sends_the_whole_page_to_sign_in(self, client: Client) -> None:
        asked_from = {"HX-Request": "true", "HX-Current-URL": "http://testserver/runs/?state=failed"}
        response = client.get("/runs/", headers=asked_from)
        assert response["HX-Redirect"] == "/sign-in/?next=/runs/%3Fstate%3Dfailed"

    def test_after_a_form_one_comes_back_to_the_page_it_was_on(self, client: Client) -> None:
        response = client.post(
            "/runs/run_1/resume/", headers={"Referer": "http://evil.example/runs/run_1/?x=1"}
        )
        assert response["Location"] == "/sign-in/?next=/runs/run_1/%3Fx%3D1"

    def test_pages_are_never_kept_and_strictly_policed(self, olga: Client) -> None:
        response = olga.get("/runs/")
        assert "no-store" in response["Cache-Control"]
        policy = response["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
