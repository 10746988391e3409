"""The queue's page: a count that is the number of rows, and the next item after each decision."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from approvals.models import Approval, Decision
from runs.clock import db_now
from tests.approvals.conftest import Asked, People, Proposed, a_call, a_run, an_approval, made
from tests.approvals.test_views import as_, page_of

pytestmark = pytest.mark.django_db
QUEUE = "/queue/"


@pytest.fixture
def bea(people: People) -> Client:
    looks = Permission.objects.filter(codename__in=["view_approval", "view_run"])
    for person in (people.ana, people.bea, people.carl, people.olga):
        person.user_permissions.add(*looks)
    return as_(people.bea)


def asked(minutes: int, *, risk: str = "medium", requester: str = "user:ana", **terms: Any) -> Approval:
    approval = an_approval(a_call(a_run(requester), made(risk=risk)), **terms)
    Approval.objects.filter(pk=approval.pk).update(
        expires_at=db_now() + timedelta(minutes=minutes, seconds=30)
    )
    return Approval.objects.get(pk=approval.pk)


def rows(client: Client, **query: str) -> list[str]:
    return [row.pk for row in client.get(QUEUE, query).context["queue"].rows]


class TestQueue:
    def test_it_works(self, bea: Client) -> None:
        later, burning = asked(600), asked(20, risk="high")
        response = bea.get(QUEUE)
        page = response.content.decode()
        assert rows(bea) == [burning.pk, later.pk]
        assert "20 min left</span>, then the run stops" in page
        assert [group.heading for group in response.context["queue"].groups] == [
            "Due within an hour",
            "Due within a day",
        ]
        # The most urgent one is open beside the list, with its buttons.
        assert response.context["approval"] == burning
        assert f'action="{page_of(burning)}"' in page

    def test_the_order_is_stable(self, bea: Client) -> None:
        for _ in range(5):
            asked(60)
        assert rows(bea) == rows(bea)

    def test_counts_are_rows_in_every_view(self, bea: Client, people: People) -> None:
        asked(60)
        asked(60, group_id=people.finance.pk)
        asked(60, requester="user:bea")
        for person in (people.ana, people.bea, people.carl, people.olga):
            client = as_(person)
            for view in ("mine", "all"):
                found = client.get(QUEUE, {"view": view}).context
                queue, wanted = found["queue"], found["wanted"]
                assert len(queue.rows) == queue.total == (queue.mine if wanted.view == "mine" else queue.all)
            assert client.get(QUEUE).context["queue_count"] == found["queue"].mine

    def test_filters(self, bea: Client) -> None:
        high, low = asked(60, risk="high"), asked(60, risk="low")
        assert rows(bea, risk="high") == [high.pk]
        assert rows(bea, risk="nonsense") == rows(bea)
        assert rows(bea, text=low.run_id) == [low.pk]
        assert rows(bea, workflow="shop.other") == []
        page = bea.get(QUEUE, {"workflow": "shop.other", "text": "x"}).content.decode()
        assert "Clear filters (2)" in page

    def test_nothing_waits_for_me(self, bea: Client) -> None:
        assert "No run waits for a decision by anybody" in bea.get(QUEUE).content.decode()
        asked(60, requester="user:bea")
        assert "1 decision waits for others" in bea.get(QUEUE).content.decode()

    def test_onlookers_see_all_and_decide_nothing(self, bea: Client, people: People) -> None:
        approval = asked(60)
        page = as_(people.olga).get(QUEUE).content.decode()
        assert approval.pk in page
        assert "For you" not in page
        assert "You may not decide approvals" in page

    def test_any_of_them_can_be_opened_without_a_script(self, bea: Client) -> None:
        asked(20)
        later = asked(600)
        response = bea.get(QUEUE, {"approval": later.pk})
        assert response.context["approval"] == later
        assert 'class="wide-page has-chosen"' in response.content.decode()
        assert bea.get(QUEUE, {"approval": "apr_nothing"}).status_code == 404

    @pytest.mark.usefixtures("orders_known")
    def test_the_number_of_queries_is_constant(self, bea: Client) -> None:
        counts = []
        for _ in range(2):
            for _ in range(3):
                asked(60, quorum=2)
            with CaptureQueriesContext(connection) as seen:
                bea.get(QUEUE)
            counts.append(len(seen))
        assert counts[0] == counts[1]


class TestAfterADecision:
    def decide(self, client: Client, approval: Approval, **more: str) -> Any:
        given = {"verdict": "approve", "digest": approval.digest, "from": "queue", **more}
        return client.post(page_of(approval), given)

    def test_the_next_one_opens_by_itself(self, bea: Client) -> None:
        first, second = asked(20), asked(60)
        response = self.decide(bea, first)
        assert response.status_code == 303
        query = parse_qs(urlsplit(response["Location"]).query)
        assert query["approval"] == [second.pk]
        page = bea.get(response["Location"]).content.decode()
        assert "You approved:" in page
        assert "exactly this call, once" in page
        assert 'role="status"' in page

    def test_filters_stay(self, bea: Client) -> None:
        first, second = asked(20, risk="low"), asked(600, risk="low")
        asked(30)
        response = self.decide(bea, first, queue="risk=low&next=//evil.example&view=all")
        query = parse_qs(urlsplit(response["Location"]).query)
        assert (query["risk"], query["view"], query["approval"]) == (["low"], ["all"], [second.pk])
        assert "evil" not in response["Location"]

    def test_after_the_last_one_its_own_page(self, bea: Client) -> None:
        only = asked(20)
        assert self.decide(bea, only)["Location"] == page_of(only)

    def test_others_cannot_be_shown_my_decision(self, bea: Client, people: People) -> None:
        first = asked(20)
        asked(60)
        self.decide(bea, first)
        decided = Decision.objects.get().pk
        page = as_(people.carl).get(QUEUE, {"decided": decided}).content.decode()
        assert "You approved" not in page


def test_every_waiting_approval_is_reachable(bea: Client, people: People, ask: Asked, call: Proposed) -> None:
    """From the queue, from its run and in the admin."""
    approval = ask()
    assert approval.pk in bea.get(QUEUE).content.decode()
    assert page_of(approval) in bea.get(reverse("runs:run", args=[approval.run_id])).content.decode()
    assert approval.pk in as_(people.root).get("/admin/approvals/approval/").content.decode()
