"""Deadlines: by the database's clock, never an approval, and one failure stops nobody's round."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import services, timers
from approvals.models import Approval
from approvals.refusals import NotFound
from runs import timers as caretakers
from runs.actors import CARETAKER, acting_as
from runs.gate import Next
from runs.models import Run
from tests.approvals.conftest import Asked, Proposed, a_call, a_run, an_approval, overdue


def test_it_works(ask: Asked, run: Run, hints: list[str]) -> None:
    approval = overdue(ask(on_expiry=Next.SEND_BACK))
    with acting_as(CARETAKER):
        assert services.expire(approval.pk)
    approval.refresh_from_db()
    run.refresh_from_db()
    assert (approval.state, approval.next, approval.decided_by) == ("expired", "send_back", "caretaker")
    assert approval.effective_at is None
    assert run.state == "queued"
    entry = run.journal.last()
    assert entry is not None
    assert (entry.kind, entry.actor) == ("approval.expired", "caretaker")
    assert entry.sentence.startswith("Nobody decided by ")


def test_before_its_time_nothing_happens(ask: Asked) -> None:
    approval = ask()
    assert not services.expire(approval.pk)
    approval.refresh_from_db()
    assert approval.is_pending


def test_twice_is_once(ask: Asked, run: Run) -> None:
    approval = overdue(ask())
    assert services.expire(approval.pk)
    assert not services.expire(approval.pk)
    assert run.journal.filter(kind="approval.expired").count() == 1


def test_unknown(db: None) -> None:
    with pytest.raises(NotFound):
        services.expire("apr_none")


def test_the_round_takes_all_that_are_due_and_no_other(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "BATCH", 2)
    due = [overdue(an_approval(a_call(a_run())), timedelta(seconds=n + 1)).pk for n in range(5)]
    later = ask()
    assert timers.expire_due() == 5
    assert {row.state for row in Approval.objects.in_bulk(due).values()} == {"expired"}
    later.refresh_from_db()
    assert later.is_pending
    assert timers.expire_due() == 0


def test_one_that_fails_keeps_nobody_waiting(
    ask: Asked, call: Proposed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(timers, "BATCH", 1)
    bad = overdue(ask(), timedelta(seconds=9))
    good = overdue(ask(call(path="5")))
    really = services.expire

    def fails_for_one(approval_id: str) -> bool:
        if approval_id == bad.pk:
            raise RuntimeError("a defect")
        return really(approval_id)

    monkeypatch.setattr(services, "expire", fails_for_one)
    assert timers.expire_due() == 1
    good.refresh_from_db()
    assert good.state == "expired"
    assert "left for the next round" in caplog.text


def test_every_sweep_includes_it(ask: Asked) -> None:
    approval = overdue(ask())
    assert caretakers.sweep()["approvals.expire"] == 1
    approval.refresh_from_db()
    assert approval.decided_by == "caretaker"
