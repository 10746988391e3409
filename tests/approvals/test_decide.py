"""What one person says: recorded once, bound to what they saw, and refused to those who may not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from approvals import services
from approvals.models import Approval, Decision
from approvals.refusals import (
    AlreadyDecided,
    ApprovalError,
    Changed,
    ExpiredAlready,
    NotAllowed,
    NotFound,
    Unclear,
)
from approvals.states import ApprovalState
from runs import journal
from runs.gate import Next
from runs.models import JournalEntry, Run
from tests.approvals.conftest import Asked, People, Proposed, a_call, a_run, an_approval, overdue


def say(approval: Approval, by: User, verdict: str = "approve", **more: Any) -> Decision:
    return services.decide(approval.pk, by=by, verdict=verdict, **({"digest": approval.digest} | more))


def everything() -> list[Any]:
    """All that a refusal must leave alone."""
    tables = (Approval, Decision, JournalEntry, Run, Approval.history, Run.history)
    return [list(getattr(t, "objects", t).order_by("pk").values()) for t in tables]


class TestApproving:
    def test_it_works(self, ask: Asked, people: People, run: Run, hints: list[str]) -> None:
        approval = ask()
        decision = say(approval, people.bea, client="page")
        approval.refresh_from_db()
        assert (approval.state, approval.decided_by) == (ApprovalState.APPROVED, "user:bea")
        assert approval.decided_at == approval.effective_at == decision.created_at
        assert (decision.by, decision.actor, decision.client) == (people.bea, "user:bea", "page")
        assert (decision.digest, decision.verdict) == (approval.digest, "approve")
        run.refresh_from_db()
        assert (run.state, run.wakes) == ("queued", 1)

    def test_the_history_names_the_person(self, ask: Asked, people: People) -> None:
        approval = ask()
        say(approval, people.bea)
        rows = list(approval.history.order_by("history_id").values_list("state", "actor"))
        assert rows == [("pending", "system"), ("approved", "user:bea")]

    def test_the_journal_says_it_in_words_and_holds(self, ask: Asked, people: People, run: Run) -> None:
        approval = ask()
        decision = say(approval, people.bea, reason="Photos show it.")
        run.refresh_from_db()
        entry = run.journal.last()
        assert entry is not None
        assert entry.sentence == "bea approved: Pay 120.00 EUR back for A1 (Photos show it.)"
        assert (entry.kind, entry.actor, entry.step_id) == ("approval.approved", "user:bea", approval.step_id)
        assert entry.content["decision"] == decision.pk
        assert entry.content["digest"] == approval.digest
        assert list(journal.verify(run, run.journal.all())) == []

    def test_a_run_that_is_not_waiting_looks_again(self, people: People) -> None:
        busy = a_run(state="running")
        say(an_approval(a_call(busy)), people.bea)
        busy.refresh_from_db()
        assert (busy.state, busy.wakes) == ("running", 1)

    def test_pressing_twice_is_one_decision(self, ask: Asked, people: People, run: Run) -> None:
        approval = ask()
        first = say(approval, people.bea)
        before = everything()
        assert say(approval, people.bea) == first
        assert everything() == before


class TestRejecting:
    def test_it_works(self, ask: Asked, people: People, run: Run) -> None:
        approval = ask()
        say(approval, people.bea, "reject", reason="Wrong account.", next="send_back")
        approval.refresh_from_db()
        assert (approval.state, approval.reason, approval.next) == ("rejected", "Wrong account.", "send_back")
        assert approval.effective_at is None
        run.refresh_from_db()
        assert run.state == "queued"

    def test_it_stops_unless_told_otherwise(self, ask: Asked, people: People) -> None:
        assert say(ask(), people.bea, "reject", reason="No.").next == Next.STOP

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"reason_code": "wrong_amount"}, "Wrong amount"),
            ({"reason_code": "wrong_amount", "reason": "It is 12."}, "Wrong amount: It is 12."),
            ({"reason_code": "other", "reason": "A hunch."}, "A hunch."),
            ({"reason": "  bytes \x00 and \ud800 "}, "bytes \ufffd and \ufffd"),
        ],
    )
    def test_the_reason_is_the_code_the_text_or_both(
        self, ask: Asked, people: People, given: dict[str, str], told: str
    ) -> None:
        approval = ask()
        say(approval, people.bea, "reject", **given)
        approval.refresh_from_db()
        assert approval.reason == told

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({}, "reason"),
            ({"reason": "   "}, "reason"),
            ({"reason_code": "other"}, "reason"),
            ({"reason_code": "mood"}, "reason_code"),
            ({"reason": "No.", "next": "explode"}, "next"),
            ({"reason": "x" * 4001}, "reason"),
            ({"verdict": "maybe"}, "verdict"),
        ],
    )
    def test_a_no_without_a_why_is_refused(
        self, ask: Asked, people: People, given: dict[str, str], field: str
    ) -> None:
        approval = ask()
        before = everything()
        with pytest.raises(Unclear) as refusal:
            say(approval, people.bea, **({"verdict": "reject"} | given))
        assert refusal.value.field == field
        assert everything() == before


class TestWhoMayDecide:
    def test_the_requester_may_not_though_they_may_decide_others(self, ask: Asked, people: People) -> None:
        with pytest.raises(NotAllowed, match="asked for this yourself"):
            say(ask(), people.ana)

    def test_superusers_are_no_exception(self, people: People) -> None:
        approval = an_approval(a_call(a_run(requester="user:root")))
        before = everything()
        with pytest.raises(NotAllowed, match="asked for this yourself"):
            say(approval, people.root)
        assert everything() == before

    def test_whoever_started_the_run_may_not_either(self, people: People) -> None:
        approval = an_approval(replace(a_call(a_run(requester="user:carl")), requester="agent:analyst"))
        with pytest.raises(NotAllowed):
            say(approval, people.carl)

    def test_a_new_name_makes_no_new_person(self, ask: Asked, people: People) -> None:
        approval = ask()
        people.ana.username = "anna"
        people.ana.save()
        with pytest.raises(NotAllowed):
            say(approval, people.ana)

    def test_the_group_alone_decides(self, ask: Asked, people: People) -> None:
        approval = ask(group_id=people.finance.pk)
        with pytest.raises(NotAllowed, match="members of Finance"):
            say(approval, people.carl)
        with pytest.raises(NotAllowed, match="members of Finance"):
            say(approval, people.root)
        assert say(approval, people.bea)

    def test_the_permission_is_needed(self, ask: Asked, people: People) -> None:
        with pytest.raises(NotAllowed, match="permission"):
            say(ask(), people.olga)

    def test_whoever_left_may_not(self, ask: Asked, people: People) -> None:
        people.bea.is_active = False
        with pytest.raises(NotAllowed):
            say(ask(), people.bea)

    def test_a_stranger_may_not(self, ask: Asked, people: People) -> None:
        with pytest.raises(NotAllowed):
            say(ask(), AnonymousUser())  # type: ignore[arg-type]


class TestTooLateOrOtherwise:
    def test_unknown(self, people: People) -> None:
        with pytest.raises(NotFound, match="apr_none"):
            services.decide("apr_none", by=people.bea, verdict="approve", digest="")

    def test_the_second_person_is_told_who_when_what_and_why(self, ask: Asked, people: People) -> None:
        approval = ask()
        decision = say(approval, people.bea, "reject", reason="Wrong account.")
        with pytest.raises(AlreadyDecided) as refusal:
            say(approval, people.carl)
        outcome = refusal.value.outcome
        assert (outcome.state, outcome.by, outcome.at) == ("rejected", "user:bea", decision.created_at)
        assert (outcome.reason, outcome.next) == ("Wrong account.", Next.STOP)
        assert outcome.sentence == "bea rejected this: Wrong account."

    def test_nobody_changes_their_mind(self, ask: Asked, people: People) -> None:
        approval = ask(quorum=2)
        say(approval, people.bea)
        with pytest.raises(AlreadyDecided, match="already approved"):
            say(approval, people.bea, "reject", reason="Hm.")

    def test_another_digest_is_another_thing(self, ask: Asked, people: People) -> None:
        approval = ask()
        with pytest.raises(Changed) as refusal:
            say(approval, people.bea, digest="f" * 64)
        assert refusal.value.approval_id == approval.pk

    def test_the_time_is_over_though_no_caretaker_came(self, ask: Asked, people: People) -> None:
        approval = overdue(ask())
        with pytest.raises(ExpiredAlready) as refusal:
            say(approval, people.bea)
        assert refusal.value.outcome.state is ApprovalState.PENDING

    def test_expired(self, ask: Asked, people: People) -> None:
        approval = overdue(ask())
        services.expire(approval.pk)
        with pytest.raises(ExpiredAlready) as refusal:
            say(approval, people.bea)
        assert refusal.value.outcome.sentence == "Nobody decided in time."

    def test_withdrawn(self, ask: Asked, people: People) -> None:
        approval = ask()
        services.withdraw(approval.run_id, "the run has ended")
        with pytest.raises(AlreadyDecided, match="withdrawn: the run has ended"):
            say(approval, people.bea)

    def test_superseded_names_the_new_request(self, ask: Asked, people: People, call: Proposed) -> None:
        proposed = call()
        old = ask(proposed)
        new = ask(proposed, policy_version=2)
        with pytest.raises(Changed) as refusal:
            say(old, people.bea)
        assert refusal.value.approval_id == new.pk

    def test_no_refusal_changes_anything(self, ask: Asked, people: People) -> None:
        gone, late = ask(), overdue(an_approval(a_call(a_run())), timedelta(hours=1))
        say(gone, people.bea)
        open_one = an_approval(a_call(a_run()))
        before = everything()
        for approval, by, more in (
            (gone, people.carl, {}),
            (late, people.bea, {}),
            (open_one, people.ana, {}),
            (open_one, people.olga, {}),
            (open_one, people.bea, {"digest": ""}),
            (open_one, people.bea, {"verdict": "reject"}),
        ):
            with pytest.raises(ApprovalError):
                say(approval, by, **more)
        assert everything() == before


class TestQuorum:
    def test_the_last_one_needed_decides(self, ask: Asked, people: People, run: Run) -> None:
        approval = ask(quorum=2)
        say(approval, people.bea)
        approval.refresh_from_db()
        run.refresh_from_db()
        assert (approval.state, run.state) == ("pending", "waiting")
        assert "bea approved (1 of 2)" in run.journal.last().sentence  # type: ignore[union-attr]
        say(approval, people.carl)
        approval.refresh_from_db()
        run.refresh_from_db()
        assert (approval.state, run.state) == ("approved", "queued")

    def test_one_no_is_enough(self, ask: Asked, people: People) -> None:
        approval = ask(quorum=2)
        say(approval, people.bea)
        say(approval, people.carl, "reject", reason="No.")
        approval.refresh_from_db()
        assert (approval.state, approval.decided_by) == ("rejected", "user:carl")
