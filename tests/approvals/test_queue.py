"""The queue: what this person may decide, most urgent first, and no other rule than the act's own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test.utils import CaptureQueriesContext

from approvals import authority, queries, services
from approvals.models import Approval
from approvals.refusals import NotFound
from runs.clock import db_now
from tests.approvals.conftest import Asked, People, Proposed, a_call, a_run, an_approval, made


def due_in(approval: Approval, minutes: float) -> Approval:
    Approval.objects.filter(pk=approval.pk).update(expires_at=db_now() + timedelta(minutes=minutes))
    return approval


def one(risk: str, minutes: float, effect: str = "write") -> str:
    return due_in(an_approval(a_call(a_run(), made(effect, risk))), minutes).pk


class TestOrder:
    def test_overdue_first_then_time_left_scaled_by_risk(self, db: None) -> None:
        low_soon = one("low", 10)
        critical_later = one("critical", 40)
        low_overdue = one("low", -1)
        high_overdue = one("high", -1)
        medium = one("medium", 60)
        assert [row.pk for row in queries.open_approvals()] == [
            high_overdue,
            low_overdue,
            critical_later,  # 40 minutes at eight times the weight: 5
            low_soon,  # 10
            medium,  # 60 at twice the weight: 30
        ]

    def test_each_row_says_how_long_is_left(self, db: None) -> None:
        one("high", 10)
        row = queries.open_approvals().get()
        assert row.seconds_left == pytest.approx(600, abs=5)
        assert row.urgency == pytest.approx(150, abs=2)


class TestWhoSeesWhat:
    def test_the_queue_holds_exactly_what_one_may_decide(self, people: People) -> None:
        for requester in ("user:ana", "user:bea", "user:root", "agent:analyst"):
            an_approval(a_call(a_run(requester)))
            an_approval(a_call(a_run(requester)), group_id=people.finance.pk)
        for person in (people.ana, people.bea, people.carl, people.olga, people.root, AnonymousUser()):
            allowed = [row.pk for row in queries.open_approvals() if not authority.objection(row, person)]
            queue = queries.queue_for(person)
            assert [row.pk for row in queue] == allowed
            assert queue.count() == len(allowed)
        assert queries.queue_for(people.bea).count() == 6
        assert queries.queue_for(people.carl).count() == 4
        assert queries.queue_for(people.root).count() == 3

    def test_nobody_is_asked_twice(self, ask: Asked, people: People) -> None:
        approval = ask(quorum=2)
        services.decide(approval.pk, by=people.bea, verdict="approve", digest=approval.digest)
        assert not queries.queue_for(people.bea)
        assert queries.queue_for(people.carl).get() == approval

    def test_what_has_ended_is_gone(self, ask: Asked, people: People) -> None:
        approval = ask()
        services.withdraw(approval.run_id, "the run has ended")
        assert not queries.queue_for(people.bea)

    def test_the_list_costs_one_statement(self, people: People, django_assert_num_queries: object) -> None:
        for _ in range(3):
            an_approval(a_call(a_run()), group_id=people.finance.pk)
        people.bea.has_perm(authority.DECIDE)
        from django.db import connection

        with CaptureQueriesContext(connection) as statements:
            for row in queries.queue_for(people.bea):
                assert row.run.workflow and row.group
        assert len(statements) == 1


class TestDetail:
    def test_a_reviewer(self, ask: Asked, people: People) -> None:
        shown = queries.detail(ask().pk, people.bea)
        assert (shown.objection, shown.own, shown.decisions) == ("", None, [])
        assert shown.can_decide
        assert shown.seconds_left > 0
        assert shown.outcome.sentence == "Nobody has decided yet."

    def test_the_requester_reads_why_not(self, ask: Asked, people: People) -> None:
        shown = queries.detail(ask().pk, people.ana)
        assert not shown.can_decide
        assert "somebody else must decide" in shown.objection

    def test_after_the_decision(self, ask: Asked, people: People) -> None:
        approval = ask(quorum=2)
        decision = services.decide(approval.pk, by=people.bea, verdict="approve", digest=approval.digest)
        shown = queries.detail(approval.pk, people.bea)
        assert (shown.own, shown.approvals_given, shown.can_decide) == (decision, 1, False)
        assert [row.state for row in shown.history] == ["pending"]

    def test_a_changed_request_points_both_ways(self, ask: Asked, call: Proposed, people: People) -> None:
        proposed = call()
        old, new = ask(proposed), ask(proposed, policy_version=2)
        assert queries.detail(new.pk, people.bea).superseded == old
        assert queries.detail(old.pk, people.bea).approval.superseded_by == new

    def test_unknown(self, people: People) -> None:
        with pytest.raises(NotFound):
            queries.detail("apr_none", people.bea)


def test_what_one_has_decided_newest_first(people: People) -> None:
    said = []
    for _ in range(3):
        approval = an_approval(a_call(a_run()))
        said.append(services.decide(approval.pk, by=people.bea, verdict="approve", digest=approval.digest))
    assert list(queries.decided_by(people.bea)) == said[::-1]
    assert not queries.decided_by(people.carl)
