"""Every state against every event: what may happen, and that nothing else does."""

from __future__ import annotations

import pytest
from django.db import transaction
from django_fsm import ConcurrentTransition, TransitionNotAllowed

from approvals.models import Approval
from approvals.states import ApprovalState
from runs.clock import db_now
from tests.approvals.conftest import Asked

ALLOWED = {
    ("pending", "approve"): "approved",
    ("pending", "reject"): "rejected",
    ("pending", "expire"): "expired",
    ("pending", "withdraw"): "withdrawn",
    ("pending", "supersede"): "superseded",
    ("approved", "supersede"): "superseded",
}
EVENTS = ("approve", "reject", "expire", "withdraw", "supersede")


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", [s.value for s in ApprovalState])
def test_each_event_in_each_state(state: str, event: str) -> None:
    approval = Approval(state=state)
    if (state, event) in ALLOWED:
        getattr(approval, event)()
        assert approval.state == ALLOWED[state, event]
    else:
        with pytest.raises(TransitionNotAllowed):
            getattr(approval, event)()
        assert approval.state == state


def test_the_state_cannot_be_set_by_hand() -> None:
    approval = Approval(state="pending")
    with pytest.raises(AttributeError):
        approval.state = "approved"


def test_reading_again_is_no_forbidden_move(ask: Asked) -> None:
    approval = ask()
    approval.refresh_from_db()
    assert approval.is_pending
    with pytest.raises(AttributeError):
        approval.state = "approved"


def test_the_later_of_two_loses(ask: Asked) -> None:
    here = ask()
    there = Approval.objects.get(pk=here.pk)
    here.approve()
    here.end(at=db_now(), by="user:bea", reason="", next=None)
    here.save()
    there.reject()
    there.end(at=db_now(), by="user:carl", reason="no", next=None)
    with pytest.raises(ConcurrentTransition), transaction.atomic():
        there.save()
    there.refresh_from_db()
    assert (there.state, there.decided_by) == ("approved", "user:bea")
    assert [row.state for row in there.history.order_by("history_id")] == ["pending", "approved"]
