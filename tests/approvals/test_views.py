"""Deciding on a page: what is shown, what is recorded, and what the loser of a race reads."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from approvals import services
from approvals.models import Approval, Decision
from runs.models import Run
from tests.approvals.conftest import Asked, People, Proposed, a_call, a_run, an_approval, made, overdue
from tools.contract import Change, Check, Preview

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reviewers_see(people: People) -> None:
    """Reviewers and onlookers see approvals and runs; nobody here sees technical content."""
    looks = Permission.objects.filter(codename__in=["view_approval", "view_run"])
    for person in (people.ana, people.bea, people.carl, people.olga):
        person.user_permissions.add(*looks)


def as_(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def bea(people: People) -> Client:
    return as_(people.bea)


def page_of(approval: Approval) -> str:
    return reverse("approvals:approval", args=[approval.pk])


def text_of(client: Client, approval: Approval) -> str:
    response = client.get(page_of(approval))
    assert response.status_code == 200
    return response.content.decode()


def send(client: Client, approval: Approval, verdict: str, **more: Any) -> Any:
    return client.post(page_of(approval), {"verdict": verdict, "digest": approval.digest, **more})


class TestWhatIsShown:
    def test_the_order_is_consequence_first_and_opinion_last(self, bea: Client, ask: Asked) -> None:
        page = text_of(bea, ask())
        parts = [
            "Pay 120.00 EUR back for A1",
            "Medium risk",
            "if nobody decides, <strong>the run stops",
            "What will change",
            ">120.00 EUR<",
            '<h3 id="evidence">',
            "delivered, damaged",
            "Reversible?",
            "Confidence",
            "Technical details",
            "own words, not verified",
            "The parcel arrived broken.",
        ]
        places = [page.index(part, page.index("<h1")) for part in parts]
        assert places == sorted(places)

    def test_failed_checks_come_first_and_say_so(self, bea: Client, call: Proposed, ask: Asked) -> None:
        tool = made()
        checks = [Check("Same currency", True), Check("Under the limit", False)]
        tool._hooks["preview"] = lambda call: Preview("Pay back", [Change("Paid", 1, 0)], checks=checks)
        page = text_of(bea, ask(call(tool)))
        assert page.index("Failed: Under the limit") < page.index("Same currency")
        assert 'name="checked"' in page

    def test_without_a_preview_the_arguments_stand_in(self, bea: Client, call: Proposed, ask: Asked) -> None:
        tool = made()
        del tool._hooks["preview"]
        page = text_of(bea, ask(call(tool)))
        assert "The tool shows no before and after" in page
        assert "<dt>order id</dt>" in page

    def test_numbers_that_are_missing_are_not_invented(self, bea: Client, call: Proposed, ask: Asked) -> None:
        assert "not stated" in text_of(bea, ask())
        assert "71 %" in text_of(bea, ask(call(path="5", confidence=0.71)))

    def test_a_script_is_called_one(self, bea: Client, call: Proposed, ask: Asked) -> None:
        scripted = ask(call(agent="analyst", agent_version="2", model="scripted:analyst"))
        page = text_of(bea, scripted)
        assert "A script wrote this; no model was asked" in page
        assert "In the agent’s own words, not verified" in page
        live = ask(call(path="5", agent="analyst", model="openai:gpt-9"))
        assert "Model: <strong>openai:gpt-9</strong>" in text_of(bea, live)

    def test_text_of_others_is_escaped_spelled_out_and_folded(
        self, bea: Client, call: Proposed, ask: Asked
    ) -> None:
        approval = ask(call(why="<script>x</script> \u202e" + "very " * 300))
        page = text_of(bea, approval)
        assert "<script>x" not in page
        assert "\u202e" not in page
        assert re.search(r"Show all \d+ characters", page)

    def test_evidence_in_any_form(self, bea: Client, call: Proposed, ask: Asked) -> None:
        cited = [{"document": "ticket 881", "quote": "broken"}, {"amount": 3}, "a sentence"]
        page = text_of(bea, ask(call(evidence=cited)))
        for part in ("<strong>ticket 881</strong>: ", "broken", "amount: 3", "a sentence"):
            assert part in page

    @pytest.mark.usefixtures("orders_known")
    def test_the_number_of_queries_does_not_grow(self, bea: Client, call: Proposed, ask: Asked) -> None:
        few, many = ask(call(evidence=[])), ask(call(path="5", evidence=[{"text": str(n)} for n in range(9)]))
        counts = []
        for approval in (few, many):
            with CaptureQueriesContext(connection) as seen:
                text_of(bea, approval)
            counts.append(len(seen))
        assert counts[0] == counts[1]

    def test_an_id_that_nobody_knows(self, bea: Client) -> None:
        response = bea.get("/approvals/apr_nothing/")
        assert response.status_code == 404
        assert "There is no approval apr_nothing" in response.content.decode()


class TestDeciding:
    def test_approving(self, bea: Client, ask: Asked) -> None:
        approval = ask()
        response = send(bea, approval, "approve")
        assert (response.status_code, response["Location"]) == (303, page_of(approval))
        decision = Decision.objects.get()
        assert (decision.verdict, decision.client, decision.digest) == ("approve", "page", approval.digest)
        page = text_of(bea, approval)
        assert "You approved this" in page
        assert decision.pk in page
        assert "exactly this call and once" in page
        assert "<button" in page and 'name="verdict"' not in page

    def test_rejecting_with_a_preset(self, bea: Client, ask: Asked) -> None:
        approval = ask()
        response = send(bea, approval, "reject", reason_code="wrong_amount", next="send_back")
        assert response.status_code == 303
        decision = Decision.objects.get()
        assert (decision.reason_code, decision.next) == ("wrong_amount", "send_back")
        page = text_of(bea, approval)
        assert "You rejected this" in page
        assert "It was not done. Send back" in page

    def test_rejecting_takes_a_reason(self, bea: Client, ask: Asked) -> None:
        response = send(bea, ask(), "reject", reason_code="other", next="stop")
        page = response.content.decode()
        assert response.status_code == 422
        assert "Say why" in page
        assert '<details class="reject" open>' in page
        assert not Decision.objects.exists()

    @pytest.mark.parametrize("risk", ["high", "critical"])
    def test_much_at_stake_takes_a_tick_on_the_server_too(
        self, bea: Client, call: Proposed, ask: Asked, risk: str
    ) -> None:
        approval = ask(call(made(risk=risk)))
        response = send(bea, approval, "approve")
        assert response.status_code == 422
        assert "Tick that you checked it" in response.content.decode()
        assert not Decision.objects.exists()
        assert send(bea, approval, "approve", checked="yes").status_code == 303

    def test_a_no_takes_no_tick(self, bea: Client, call: Proposed, ask: Asked) -> None:
        response = send(bea, ask(call(made(risk="critical"))), "reject", reason="no", next="stop")
        assert response.status_code == 303

    def test_twice_pressed_is_once_decided(self, bea: Client, ask: Asked) -> None:
        approval = ask()
        assert send(bea, approval, "approve").status_code == 303
        assert send(bea, approval, "approve").status_code == 303
        assert Decision.objects.count() == 1

    def test_of_two_people_the_first_is_counted(self, bea: Client, ask: Asked, people: People) -> None:
        approval = ask(quorum=2)
        assert "Approve (1 of 2)" in text_of(bea, approval)
        send(bea, approval, "approve")
        assert "It takes 1 more person to approve" in text_of(bea, approval)
        assert "Approve (2 of 2)" in text_of(as_(people.carl), approval)

    @pytest.mark.parametrize("method", ["get", "head"])
    def test_looking_decides_nothing(self, bea: Client, ask: Asked, method: str) -> None:
        approval = ask()
        before = Approval.objects.filter(pk=approval.pk).values().get()
        query = {"verdict": "approve", "digest": approval.digest, "checked": "yes"}
        assert getattr(bea, method)(page_of(approval), query).status_code == 200
        assert Approval.objects.filter(pk=approval.pk).values().get() == before
        assert not Decision.objects.exists()

    @pytest.mark.parametrize("method", ["put", "patch", "delete"])
    def test_other_methods_are_refused(self, bea: Client, ask: Asked, method: str) -> None:
        assert getattr(bea, method)(page_of(ask())).status_code == 405

    def test_a_forged_form_is_refused(self, people: People, ask: Asked) -> None:
        approval = ask()
        client = Client(enforce_csrf_checks=True)
        client.force_login(people.bea)
        response = send(client, approval, "approve")
        assert response.status_code == 403
        assert "the page was too old" in response.content.decode()
        assert not Decision.objects.exists()

    def test_who_decides_is_not_a_field(self, bea: Client, ask: Asked, people: People) -> None:
        send(bea, ask(), "approve", by=people.carl.pk, actor="user:carl", user="carl")
        assert Decision.objects.get().by == people.bea


class TestConflict:
    def test_the_loser_reads_who_what_and_why_and_keeps_their_text(
        self, bea: Client, ask: Asked, people: People
    ) -> None:
        approval = ask()
        services.decide(
            approval.pk, by=people.carl, verdict="reject", digest=approval.digest, reason="wrong account"
        )
        response = send(bea, approval, "reject", reason="I typed this for minutes", next="stop")
        page = response.content.decode()
        assert response.status_code == 409
        assert "Already decided" in page
        assert "carl rejected this: wrong account." in page
        assert "just now" in page or "s ago" in page
        assert "I typed this for minutes" in page
        assert Decision.objects.count() == 1

    def test_changing_ones_mind_is_a_conflict(self, bea: Client, ask: Asked) -> None:
        approval = ask()
        send(bea, approval, "approve")
        assert send(bea, approval, "reject", reason="no", next="stop").status_code == 409
        assert Decision.objects.get().verdict == "approve"

    def test_too_late(self, bea: Client, ask: Asked) -> None:
        approval = overdue(ask())
        response = send(bea, approval, "approve")
        assert response.status_code == 409
        assert "Too late" in response.content.decode()
        assert not Decision.objects.exists()
        assert "time is over" in text_of(bea, approval)
        services.expire(approval.pk)
        page = text_of(bea, approval)
        assert "Nobody decided in time" in page
        assert "Expired" in page
        assert "ejected" not in page

    def test_withdrawn(self, bea: Client, ask: Asked, run: Run) -> None:
        approval = ask()
        services.withdraw(run.pk, "the run was stopped")
        response = send(bea, approval, "approve")
        assert response.status_code == 409
        assert "Nobody needs to decide this any more" in response.content.decode()

    def test_another_digest_is_never_bound_again_in_silence(self, bea: Client, ask: Asked) -> None:
        approval = ask()
        response = bea.post(page_of(approval), {"verdict": "approve", "digest": "0" * 64})
        page = response.content.decode()
        assert response.status_code == 409
        assert "It changed while you read" in page
        assert f'value="{approval.digest}"' in page
        assert not Decision.objects.exists()

    def test_a_new_request_shows_what_changed(self, bea: Client, call: Proposed, ask: Asked) -> None:
        first = call()
        old = ask(first)
        dearer = a_call(
            Run.objects.get(pk=first.run_id), first.tool, arguments={"order_id": "A1", "amount": "150.00"},
            step_id=first.step_id, key=first.key,
        )  # fmt: skip
        new = an_approval(dearer)
        response = send(bea, old, "approve")
        assert response.status_code == 409
        assert page_of(new) in response.content.decode()
        page = text_of(bea, new)
        assert "Changed since the earlier request" in page
        assert "120.00 → <strong>150.00</strong>" in page


class TestNotAllowed:
    def test_the_requester_reads_why_beside_disabled_buttons(self, people: People, ask: Asked) -> None:
        client, approval = as_(people.ana), ask()
        page = text_of(client, approval)
        assert "You asked for this yourself" in page
        assert "<button disabled" in page
        response = send(client, approval, "approve")
        assert response.status_code == 403
        assert not Decision.objects.exists()

    def test_superusers_are_no_exception(self, people: People) -> None:
        approval = an_approval(a_call(a_run(requester="user:root")))
        assert send(as_(people.root), approval, "approve").status_code == 403

    def test_people_of_other_groups(self, people: People, ask: Asked) -> None:
        approval = ask(group_id=people.finance.pk)
        assert "Only members of Finance" in text_of(as_(people.carl), approval)
        assert send(as_(people.carl), approval, "approve").status_code == 403
        assert send(as_(people.bea), approval, "approve").status_code == 303

    def test_onlookers(self, people: People, ask: Asked) -> None:
        approval = ask()
        assert "You may not decide approvals" in text_of(as_(people.olga), approval)
        assert send(as_(people.olga), approval, "approve").status_code == 403

    def test_deciding_takes_seeing(self, people: People, ask: Asked) -> None:
        people.bea.user_permissions.remove(Permission.objects.get(codename="view_approval"))
        assert send(as_(people.bea), ask(), "approve").status_code == 403
        assert not Decision.objects.exists()
