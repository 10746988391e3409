"""A run's page and the list: parents, children, and the people that children wait for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from runs import engine, services, waits, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from runs.pages import family
from runs.waits import Wait

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


@pytest.fixture
def omar(client: Client) -> User:
    person = User.objects.create_user("omar", password="x")
    person.user_permissions.add(Permission.objects.get(codename="view_run"))
    client.force_login(person)
    return person


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> RunRow:
    """A run that waits for a child, whose child waits for a person."""

    @workflow.workflow("t.leaf")
    def leaf(run: Run, case: int) -> None:
        run.sleep(3600)

    @workflow.workflow("t.middle")
    def middle(run: Run, case: int) -> None:
        run.gather(*(run.later(run.child, leaf, number) for number in range(case)))

    @workflow.workflow("t.top")
    def top(run: Run, case: int) -> None:
        run.child(middle, case, intent="Half of the work")

    return begin(1)


def begin(children: int) -> RunRow:
    run = services.start_run("t.top", children, actor="user:ana", intent="The whole")
    for _ in range(3):
        for row in RunRow.objects.filter(state="queued"):
            engine.advance(row.id, "wrk_a")
    return run


def asks_in_leaves(run_ids: Collection[str], viewer: Any) -> list[Wait]:
    leaves = RunRow.objects.filter(pk__in=run_ids, workflow="t.leaf").values_list("id", flat=True)
    now = db_now()
    return [
        Wait(leaf, "stp_1", "Pay 10 EUR", "Finance", now, now, "stops", "/approvals/apr_1/", True)
        for leaf in leaves
    ]


def page_of(client: Client, run: RunRow) -> str:
    return client.get(reverse("runs:run", args=[run.id])).content.decode()


def test_a_page_leads_to_children_and_parents(client: Client, omar: User, parent: RunRow) -> None:
    middle = RunRow.objects.get(workflow="t.middle")
    above, below = page_of(client, parent), page_of(client, middle)
    assert reverse("runs:run", args=[middle.id]) in above and "Half of the work" in above
    assert "child run t.middle" in above
    assert "Child of" in below and reverse("runs:run", args=[parent.id]) in below
    assert "Child of" not in above


def test_what_a_child_of_a_child_asks_shows_on_page_and_list(
    client: Client, omar: User, parent: RunRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "_finder", asks_in_leaves)
    page = page_of(client, parent)
    assert "Pay 10 EUR (for its child run: t.leaf)" in page and "/approvals/apr_1/" in page
    listed = client.get(reverse("runs:list")).content.decode()
    assert listed.count("/approvals/apr_1/") == 3, "on the run that asks, its parent, and that one's parent"


def test_a_child_that_is_not_waited_for_keeps_its_questions_to_itself(
    parent: RunRow, omar: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "_finder", asks_in_leaves)
    assert list(family.waits_in_family([parent.id], omar)) == [parent.id]
    RunRow.objects.filter(workflow="t.leaf").update(to_tell="")
    assert family.waits_in_family([parent.id], omar) == {}


@pytest.mark.usefixtures("orders_known")
def test_the_number_of_queries_does_not_depend_on_the_number_of_children(
    omar: User, parent: RunRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = begin(12)
    counts = []
    family.waits_in_family([many.id], omar)  # what is known of the viewer is asked once
    for run in (parent, many):
        with CaptureQueriesContext(connection) as queries:
            found = family.waits_in_family([run.id], omar)
            family.family_of(RunRow.objects.get(pk=run.id))
        counts.append(len(queries))
        assert found == {}
    assert counts[0] == counts[1]


def test_a_run_that_restarted_leads_to_the_next_one(client: Client, omar: User) -> None:
    @workflow.workflow("t.count")
    def count(run: Run, number: int) -> None:
        if number < 2:
            run.restart(number + 1)

    first = services.start_run("t.count", 1, actor="user:ana")
    engine.advance(first.id, "wrk_a")
    first.refresh_from_db()
    second = RunRow.objects.get(pk=first.continued_by)
    assert "Went on as" in page_of(client, first) and second.id in page_of(client, first)
    assert "Goes on from" in page_of(client, second) and first.id in page_of(client, second)
