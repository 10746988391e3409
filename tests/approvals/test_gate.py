"""The gate: policy before a call is written, decision before it is made; once, and for this call alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals import rulebook, services
from approvals.gate import ApprovalGate
from approvals.models import Approval
from runs import gate as port
from runs import journal
from runs.clock import db_now
from runs.gate import Go, Hold, Next, ProposedCall, Refuse
from runs.models import Run
from runs.services import append_entries, lock_run
from runs.turns.checkpoint import own_transaction, put
from tests.approvals.conftest import People, Proposed, look_up, made
from tools.contract import Call

gate = ApprovalGate()


def open_(proposed: ProposedCall) -> Approval:
    """As the engine parks a step."""
    hold = gate.review(proposed)
    assert isinstance(hold, Hold)
    return opened(proposed, hold)


def opened(proposed: ProposedCall, hold: Hold) -> Approval:
    with own_transaction():
        run = lock_run(proposed.run_id)
        append_entries(run, gate.open(proposed, hold), actor="worker:w")
    return Approval.objects.get(step_id=proposed.step_id, state="pending")


def answer(proposed: ProposedCall) -> port.Verdict:
    """As the engine asks, and writes what uses the decision up with the intent."""
    with own_transaction():
        lock_run(proposed.run_id)
        verdict = gate.answer(proposed)
        if isinstance(verdict, Go):
            put(verdict.uses)
        return verdict


def approve(approval: Approval, people: People) -> None:
    services.decide(approval.pk, by=people.bea, verdict="approve", digest=approval.digest)


def policy(name: str = "refunds", **terms: Any) -> None:
    rulebook.revise(name, terms, actor="user:risk")


def test_it_is_in_charge() -> None:
    assert isinstance(port.installed(), ApprovalGate)


class TestReview:
    def test_reads_go(self, call: Proposed) -> None:
        verdict = gate.review(call(made("read", function=look_up), arguments={"order_id": "A1"}))
        assert verdict == Go("default v1")

    def test_reads_cost_no_statement_while_the_rules_are_fresh(self, call: Proposed) -> None:
        read = call(made("read", function=look_up), arguments={"order_id": "A1"})
        gate.review(read)
        with CaptureQueriesContext(
            connection,
        ) as statements:
            gate.review(read)
        assert len(statements) == 0

    def test_small_writes_go_and_larger_ones_are_held(self, call: Proposed) -> None:
        policy(tier="auto", conditions={"effects": ["write"], "amount": {"currency": "EUR", "at_most": "50"}})
        small = call(arguments={"order_id": "A1", "amount": "50.00"})
        assert gate.review(small) == Go("refunds v1")
        assert isinstance(gate.review(call()), Hold)

    def test_a_new_version_counts_at_once(self, call: Proposed) -> None:
        proposed = call(made(risk="low"))
        assert isinstance(gate.review(proposed), Go)
        policy()
        assert isinstance(gate.review(proposed), Hold)
        policy(tier="stop")
        assert gate.review(proposed) == Refuse(
            "policy", "The policy refunds v2 applies. It does not allow this call."
        )

    def test_irreversible_is_held_whatever_a_row_says(self, call: Proposed) -> None:
        assert isinstance(gate.review(call(made("irreversible", risk="low"))), Hold)

    def test_it_writes_nothing(self, call: Proposed) -> None:
        gate.review(call())
        assert not Approval.objects.exists()


class TestOpening:
    def test_the_reviewer_gets_everything(self, call: Proposed, people: People) -> None:
        policy(group=people.finance, quorum=2, deadline_seconds=600, on_expiry="continue", tier="review")
        tool = made("irreversible", risk="high", rollback="Ask finance to reverse the payment.")
        approval = open_(call(tool, agent="analyst", agent_version="3", model="scripted", confidence=0.71))
        assert approval.title == "Pay 120.00 EUR back for A1"
        assert approval.arguments == {"order_id": "A1", "amount": "120.00"}
        assert approval.preview["changes"] == [{"label": "Paid", "before": "120.00 EUR", "after": "0.00 EUR"}]
        assert approval.evidence == [{"source": "order A1", "text": "delivered, damaged"}]
        assert approval.facts == {"amount": "120.00", "currency": "EUR"}
        assert (approval.tool, approval.tool_version) == ("pay_back", 1)
        assert (approval.effect, approval.risk, approval.reversibility) == ("irreversible", "high", "none")
        assert approval.rollback == "Ask finance to reverse the payment."
        assert (approval.agent, approval.agent_version, approval.model) == ("analyst", "3", "scripted")
        assert (approval.policy, approval.group, approval.quorum) == ("refunds v1", people.finance, 2)
        assert approval.expires_at - approval.created_at == timedelta(seconds=600)
        assert (approval.on_expiry, approval.requester_user) == ("continue", people.ana)

    def test_opening_twice_asks_once(self, call: Proposed) -> None:
        proposed = call()
        hold = gate.review(proposed)
        assert isinstance(hold, Hold)
        assert opened(proposed, hold) == opened(proposed, hold)
        assert Approval.objects.count() == 1

    def test_one_open_request_a_step_is_the_databases_rule(self, call: Proposed) -> None:
        approval = open_(call())
        approval.pk = "apr_other"
        with pytest.raises(IntegrityError), transaction.atomic():
            approval.save(force_insert=True)

    def test_a_preview_that_breaks_is_shown_as_a_failed_check(self, call: Proposed) -> None:
        tool = made(function=look_up, effect="read")

        def broken(call: Call) -> str:
            raise RuntimeError("no shop")

        tool.preview(broken)
        policy(conditions={"effects": ["read"]})
        approval = open_(call(tool, arguments={"order_id": "A1"}))
        assert approval.title == "Look up: order id A1."
        (check,) = approval.preview["checks"]
        assert check == {
            "label": "The preview of look_up could not be made (RuntimeError)",
            "ok": False,
        }

    def test_a_preview_that_breaks_the_database_spoils_nothing_else(self, call: Proposed) -> None:
        tool = made(name="pay_in")
        del tool._hooks["preview"]
        tool.preview(lambda call: str(Approval.objects.raw("SELECT nothing")[0]))
        proposed = call(tool)
        with own_transaction():
            run = lock_run(proposed.run_id)
            append_entries(run, gate.open(proposed, Hold("default v1")), actor="worker:w")
        assert Approval.objects.get().preview["checks"][0]["ok"] is False

    def test_the_journal_says_who_is_asked(self, call: Proposed, people: People, run: Run) -> None:
        policy(group=people.finance)
        open_(call())
        run.refresh_from_db()
        entry = run.journal.get()
        assert entry.sentence == "Asks Finance to decide: Pay 120.00 EUR back for A1"
        assert entry.kind == "approval.requested"
        assert list(journal.verify(run, run.journal.all())) == []


class TestAnswer:
    def test_undecided_is_held_and_asks_nobody_again(self, call: Proposed) -> None:
        proposed = call()
        open_(proposed)
        assert answer(proposed) == Hold("default v1")

    def test_approved_goes_once_for_this_call_and_its_retries(self, call: Proposed, people: People) -> None:
        proposed = call()
        approval = open_(proposed)
        approve(approval, people)
        go = Go("default v1", approval_id=approval.pk, by="user:bea")
        assert answer(proposed) == go
        approval.refresh_from_db()
        assert approval.consumed_by_key == proposed.key
        used_at = approval.consumed_at
        assert answer(proposed) == go
        approval.refresh_from_db()
        assert approval.consumed_at == used_at

    def test_review_knows_what_was_decided_but_uses_nothing_up(self, call: Proposed, people: People) -> None:
        proposed = call()
        approval = open_(proposed)
        assert isinstance(gate.review(proposed), Hold)
        approve(approval, people)
        assert isinstance(gate.review(proposed), Go)
        approval.refresh_from_db()
        assert approval.consumed_at is None

    def test_another_calls_decision_is_of_no_use(self, call: Proposed, people: People) -> None:
        approve(open_(call()), people)
        assert isinstance(answer(call(path="5")), Hold)

    def test_the_database_refuses_a_use_by_another_key(self, call: Proposed, people: People) -> None:
        approval = open_(call())
        approve(approval, people)
        with pytest.raises(IntegrityError), transaction.atomic():
            Approval.objects.filter(pk=approval.pk).update(consumed_by_key="other", consumed_at=db_now())

    def test_rejected(self, call: Proposed, people: People) -> None:
        proposed = call()
        approval = open_(proposed)
        services.decide(
            approval.pk,
            by=people.bea,
            verdict="reject",
            digest=approval.digest,
            reason="No.",
            next="send_back",
        )
        expected = Refuse("rejected", "No.", Next.SEND_BACK, "user:bea", approval.pk)
        assert answer(proposed) == expected
        policy(tier="auto", conditions={"effects": ["write"]})
        assert answer(proposed) == expected  # a no stands, whatever the policies have become

    def test_expired_is_not_rejected(self, call: Proposed) -> None:
        policy(on_expiry="continue")
        proposed = call()
        approval = open_(proposed)
        Approval.objects.filter(pk=approval.pk).update(expires_at=db_now())
        services.expire(approval.pk)
        verdict = answer(proposed)
        assert isinstance(verdict, Refuse)
        assert (verdict.kind, verdict.next, verdict.approval_id) == ("expired", Next.CONTINUE, approval.pk)

    def test_before_its_time_it_is_held(self, call: Proposed, people: People) -> None:
        proposed = call()
        approval = open_(proposed)
        approve(approval, people)
        Approval.objects.filter(pk=approval.pk).update(effective_at=db_now() + timedelta(hours=1))
        assert answer(proposed) == Hold("default v1")

    def test_a_state_without_decisions_proves_nothing(self, call: Proposed) -> None:
        proposed = call()
        approval = open_(proposed)
        now = db_now()
        Approval.objects.filter(pk=approval.pk).update(state="approved", decided_at=now, effective_at=now)
        verdict = answer(proposed)
        assert isinstance(verdict, Refuse)
        assert "do not carry it" in verdict.reason


class TestDrift:
    @pytest.mark.parametrize(
        "drift",
        [
            {"arguments": {"order_id": "A1", "amount": "150.00"}},
            {"evidence": [{"source": "order A1", "text": "delivered, whole"}]},
            {"tool": made(version=2)},
            {"agent_version": "4"},
        ],
    )
    def test_what_was_approved_is_not_what_would_be_done(
        self, call: Proposed, people: People, run: Run, drift: dict[str, Any]
    ) -> None:
        proposed = call()
        old = open_(proposed)
        approve(old, people)
        changed = replace(proposed, **drift)
        hold = answer(changed)
        assert isinstance(hold, Hold) and hold.request is not None
        new = opened(changed, hold)
        old.refresh_from_db()
        assert (old.state, old.superseded_by) == ("superseded", new)
        assert old.consumed_at is None
        assert new.digest != old.digest
        assert answer(changed) == Hold("default v1")
        approve(new, people)
        assert isinstance(answer(changed), Go)
        run.refresh_from_db()
        assert list(journal.verify(run, run.journal.all())) == []

    def test_a_new_version_of_the_policy_asks_again(self, call: Proposed, people: People) -> None:
        policy()
        proposed = call()
        approve(open_(proposed), people)
        policy(quorum=2)
        hold = answer(proposed)
        assert isinstance(hold, Hold)
        assert opened(proposed, hold).quorum == 2

    def test_not_after_it_was_used(self, call: Proposed, people: People) -> None:
        proposed = call()
        approve(open_(proposed), people)
        assert isinstance(answer(proposed), Go)
        policy(quorum=2)
        assert isinstance(answer(proposed), Go)  # a retry of the same act

    @pytest.mark.parametrize(("tier", "kind"), [("auto", Go), ("stop", Refuse)])
    def test_a_policy_that_asks_nobody_any_more_leaves_no_open_request(
        self, call: Proposed, run: Run, tier: str, kind: type
    ) -> None:
        proposed = call()
        approval = open_(proposed)
        policy(tier=tier, conditions={"effects": ["write"]})
        assert isinstance(answer(proposed), kind)
        approval.refresh_from_db()
        run.refresh_from_db()
        assert approval.state == "superseded"
        assert run.journal.last().kind == "approval.superseded"  # type: ignore[union-attr]

    def test_a_longer_deadline_changes_nothing(self, call: Proposed, people: People) -> None:
        proposed = call()
        approval = open_(proposed)
        Approval.objects.filter(pk=approval.pk).update(expires_at=db_now() + timedelta(days=9))
        approve(approval, people)
        assert isinstance(answer(proposed), Go)


class TestWithdraw:
    def test_the_run_ended(self, call: Proposed, people: People, run: Run) -> None:
        one, two = open_(call()), open_(call(path="5"))
        done = call(path="6")
        approve(open_(done), people)
        with own_transaction():
            append_entries(lock_run(run.pk), gate.withdraw(run.pk, "the run has ended"), actor="worker:w")
            assert gate.withdraw(run.pk, "the run has ended") == []
        states = Approval.objects.in_bulk([one.pk, two.pk])
        assert {row.state for row in states.values()} == {"withdrawn"}
        verdict = answer(replace(call(), step_id=one.step_id))
        assert isinstance(verdict, Refuse) and verdict.kind == "withdrawn"
        assert isinstance(answer(done), Go)
