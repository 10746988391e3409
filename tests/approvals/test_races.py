"""Two at once, in threads with connections of their own: one outcome, and the loser is told which."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection

from approvals import rulebook, services, timers
from approvals.models import Approval, Decision, Policy
from approvals.refusals import AlreadyDecided, ApprovalError, ExpiredAlready
from runs import journal
from runs.clock import db_now
from runs.models import Run
from tests.approvals.conftest import a_call, a_run, an_approval

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 12


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each act returns or raises, all begun at the same moment."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(10)
            return act()
        except ApprovalError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


@pytest.fixture
def reviewers(transactional_db: None) -> list[User]:
    may_decide = Permission.objects.get(codename="decide_approval")
    people = [User.objects.create_user(name, password="x") for name in ("bea", "carl", "dora", "emil")]
    for person in people:
        person.user_permissions.add(may_decide)
    return people


def deciding(approval: Approval, by: User, verdict: str = "approve") -> Callable[[], Decision]:
    return lambda: services.decide(
        approval.pk, by=by, verdict=verdict, digest=approval.digest, reason="Because."
    )


def holds(approval: Approval) -> Run:
    """The run of `approval`, whose journal must be whole."""
    run = Run.objects.get(pk=approval.run_id)
    assert list(journal.verify(run, run.journal.all())) == []
    return run


def test_reviewers_against_each_other(reviewers: list[User]) -> None:
    for _ in range(ROUNDS):
        approval = an_approval(a_call(a_run()))
        acts = [deciding(approval, p, ("approve", "reject")[n % 2]) for n, p in enumerate(reviewers)]
        told = at_once(*acts)
        approval = Approval.objects.get(pk=approval.pk)
        (decision,) = approval.decisions.all()
        assert Counter(type(each) for each in told) == {Decision: 1, AlreadyDecided: 3}
        assert approval.state == {"approve": "approved", "reject": "rejected"}[decision.verdict]
        for loser in told:
            if isinstance(loser, AlreadyDecided):
                assert (loser.outcome.state, loser.outcome.by) == (approval.state, decision.actor)
        run = holds(approval)
        assert (run.state, run.wakes) == ("queued", 1)
        assert approval.history.count() == 2


def test_one_person_in_two_windows(reviewers: list[User]) -> None:
    for _ in range(ROUNDS):
        approval = an_approval(a_call(a_run()))
        one, two = at_once(deciding(approval, reviewers[0]), deciding(approval, reviewers[0]))
        assert one == two
        assert Decision.objects.filter(approval=approval).count() == 1
        assert holds(approval).wakes == 1


def test_the_last_two_of_a_quorum(reviewers: list[User]) -> None:
    for _ in range(ROUNDS):
        approval = an_approval(a_call(a_run()), quorum=2)
        told = at_once(*(deciding(approval, person) for person in reviewers[:2]))
        assert all(isinstance(each, Decision) for each in told)
        approval = Approval.objects.get(pk=approval.pk)
        assert approval.state == "approved"
        assert holds(approval).wakes == 1


def test_a_decision_against_the_deadline(reviewers: list[User]) -> None:
    outcomes: Counter[str] = Counter()
    # From surely too late, over about now, to surely in time.
    for milliseconds in (-1000, *range(-20, 100, 10), 60_000):
        approval = an_approval(a_call(a_run()))
        ends_at = db_now() + timedelta(milliseconds=milliseconds)
        Approval.objects.filter(pk=approval.pk).update(expires_at=ends_at)
        told, *_ = at_once(deciding(approval, reviewers[0]), timers.expire_due, timers.expire_due)
        if isinstance(told, ExpiredAlready):
            assert not Decision.objects.filter(approval=approval).exists()
            while not timers.expire_due():
                if Approval.objects.get(pk=approval.pk).state == "expired":
                    break
        approval = Approval.objects.get(pk=approval.pk)
        outcomes[approval.state] += 1
        assert (approval.state == "approved") == isinstance(told, Decision)
        assert approval.state in ("approved", "expired")
        assert approval.decided_at is not None
        assert (approval.decided_at < ends_at) == (approval.state == "approved")
        assert holds(approval).wakes == 1
    assert set(outcomes) == {"approved", "expired"}


def test_caretakers_against_each_other(reviewers: list[User]) -> None:
    approvals = [an_approval(a_call(a_run())) for _ in range(8)]
    Approval.objects.update(expires_at=db_now() - timedelta(seconds=1))
    assert sum(at_once(*[timers.expire_due] * 4)) == len(approvals)
    for approval in approvals:
        assert holds(approval).journal.filter(kind="approval.expired").count() == 1


def test_two_risk_owners_at_one_policy(transactional_db: None) -> None:
    rulebook.revise("refunds", {}, actor="user:risk")
    at_once(*[lambda: rulebook.revise("refunds", {"quorum": 2}, actor="user:risk")] * 3)
    rows = list(Policy.objects.order_by("version").values_list("version", "active"))
    assert rows == [(1, False), (2, False), (3, False), (4, True)]
