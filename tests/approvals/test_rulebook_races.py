"""Two who change a policy at once: the second has waited, and knows what the first one did."""

from __future__ import annotations

import pytest

from approvals import declared, rulebook
from approvals.declared import policy
from approvals.models import Policy
from tests.in_turn import against

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
ANA, BEN = "user:ana", "user:ben"


def in_force() -> Policy:
    return Policy.objects.get(name="refunds", active=True)


def test_what_the_second_leaves_out_stays_as_the_first_one_wrote_it() -> None:
    rulebook.revise("refunds", {"tier": "review", "quorum": 3, "conditions": {"tools": ["pay"]}}, actor=ANA)
    against(
        lambda: rulebook.revise("refunds", {"quorum": 2}, actor=ANA),
        lambda: rulebook.revise("refunds", {"deadline_seconds": 60}, actor=BEN),
    )
    now = in_force()
    assert (now.version, now.quorum, now.deadline_seconds) == (3, 2, 60)
    assert (now.tier, now.conditions["tools"]) == ("review", ["pay"])


def test_a_deploy_does_not_replace_what_a_person_puts_in_force_at_that_moment() -> None:
    with declared.scratch():
        policy("refunds", tier="review")
        rulebook.install_declared()
        against(
            lambda: rulebook.revise("refunds", {"tier": "stop"}, actor=ANA),
            rulebook.install_declared,
        )
    assert (in_force().version, in_force().tier, in_force().made_by) == (2, "stop", ANA)


def test_of_two_who_put_versions_in_force_the_later_counts() -> None:
    first = rulebook.revise("refunds", {"tier": "review"}, actor=ANA)
    second = rulebook.revise("refunds", {"tier": "stop"}, actor=ANA)
    third = rulebook.revise("refunds", {"quorum": 2}, actor=ANA)
    against(
        lambda: rulebook.put_in_force(first.pk, actor=ANA),
        lambda: rulebook.put_in_force(second.pk, actor=BEN),
    )
    assert in_force().pk == second.pk != third.pk
