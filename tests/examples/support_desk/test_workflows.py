"""The desk's workflows in the real engine, with the real gate: who is asked, what is done, what is said."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from approvals import rulebook
from approvals import services as approvals
from approvals.models import Approval
from examples.support_desk.demo_shop import DEMO_SHOP
from examples.support_desk.desk import Desk
from examples.support_desk.loading import put
from examples.support_desk.models import Message
from runs import engine, services
from runs.engine import Outcome
from runs.models import Run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(transactional_db: None) -> None:
    put(DEMO_SHOP)
    rulebook.install_declared()


@pytest.fixture
def ben(transactional_db: None) -> User:
    person = User.objects.create_user("ben")
    person.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    return person


def start(workflow: str, **case: Any) -> Run:
    return services.start_run(workflow, case, actor="user:omar")


def advance(run: Run) -> Outcome:
    outcome = engine.advance(run.id, "wrk_test")
    run.refresh_from_db()
    return outcome


def decide(run: Run, by: User, verdict: str, **more: Any) -> Approval:
    approval = Approval.objects.get(run=run, state="pending")
    approvals.decide(approval.pk, by=by, verdict=verdict, digest=approval.digest, **more)
    return approval


def claim(order: str, *items: str, asked: str) -> dict[str, Any]:
    return {"order_id": order, "claim": "It arrived broken.", "item_ids": list(items), "asked": asked}


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": tool, "arguments": arguments}


class TestRefund:
    def test_a_small_one_is_paid_by_itself(self) -> None:
        run = start("support.refund", **claim("#H1001", "p-cup-blue", asked="18.40"))

        assert advance(run) is Outcome.ENDED
        assert (run.state, run.output["outcome"]) == ("succeeded", "refunded")
        assert run.output["receipt"]["transaction_id"] == Desk().order("#H1001").ledger[-1].transaction
        assert "18.40" in Message.objects.get().text
        assert not Approval.objects.exists()

    def test_one_of_a_customer_at_a_time(self) -> None:
        chair = claim("#H1009", "p-chair-green", asked="499.00") | {"customer_id": "vera_stone"}
        lamp = claim("#H1010", "p-lamp-black", asked="64.90") | {"customer_id": "vera_stone"}
        first = start("support.refund", **chair)
        assert advance(first) is Outcome.WAITING
        assert start("support.refund", **lamp).state == "waiting"
        assert start("support.refund", **lamp, shop="rehearsal").state == "queued"
        other = claim("#H1007", "p-lamp-black", asked="64.90") | {"customer_id": "nadir_hale"}
        assert start("support.refund", **other).state == "queued"

    def test_nothing_is_paid_for_somebody_elses_order(self) -> None:
        told = claim("#H1001", "p-cup-blue", asked="18.40") | {"customer_id": "vera_stone"}
        run = start("support.refund", **told)

        assert advance(run) is Outcome.ENDED
        assert run.output["outcome"] == "declined"
        assert run.output["reason"] == "#H1001 is somebody else's order."

    def test_a_large_one_waits_for_a_person(self, ben: User) -> None:
        run = start("support.refund", **claim("#H1003", "p-chair-grey", asked="489.00"))

        assert advance(run) is Outcome.WAITING
        assert len(Desk().order("#H1003").ledger) == 1
        approval = decide(run, ben, "approve")
        assert approval.title == "Pay 489.00 USD of order #H1003 back to Tobias Okoro (credit_card_9921)."
        assert "refund policy 1.1" in [item["source"] for item in approval.evidence]
        assert approval.confidence == 0.9
        assert advance(run) is Outcome.ENDED
        assert run.output["receipt"]["amount"] == "489.00"

    def test_a_suspicious_one_waits_though_it_is_small(self) -> None:
        run = start("support.refund", **claim("#H1006", "p-cup-sand", asked="18.40"))

        assert advance(run) is Outcome.WAITING
        assert Approval.objects.get().policy_name == "refunds-suspicious"

    def test_sent_back_it_comes_again_with_another_draft(self, ben: User) -> None:
        run = start("support.refund", **claim("#H1003", "p-headset-black", asked="618.50"))
        advance(run)
        decide(run, ben, "reject", reason="Only the headset is broken.", next="send_back")

        assert advance(run) is Outcome.WAITING
        second = Approval.objects.get(state="pending")
        assert second.arguments["amount"] == "129.50"
        assert "Only the headset is broken." in second.why
        decide(run, ben, "approve")
        advance(run)
        assert (run.output["outcome"], run.output["drafts"]) == ("refunded", 2)
        assert run.output["receipt"]["amount"] == "129.50"

    def test_stopped_nothing_is_paid_or_said(self, ben: User) -> None:
        run = start("support.refund", **claim("#H1003", "p-chair-grey", asked="489.00"))
        advance(run)
        decide(run, ben, "reject", reason="The parcel was never scanned.")

        assert advance(run) is Outcome.ENDED
        assert (run.output["outcome"], run.output["reason"]) == ("declined", "The parcel was never scanned.")
        assert len(Desk().order("#H1003").ledger) == 1
        assert not Message.objects.exists()

    def test_the_shop_refuses_more_than_was_paid_before_anybody_is_asked(self) -> None:
        run = start("support.refund", **claim("#H1003", "p-chair-grey", asked="700.00"))

        assert advance(run) is Outcome.ENDED
        assert "618.50 USD left to refund" in run.output["reason"]
        assert not Approval.objects.exists()

    def test_an_offer_that_nobody_takes_ends(self, ben: User) -> None:
        run = start("support.refund", **claim("#H1007", "p-lamp-black", asked="193.40"))
        for _ in range(2):
            advance(run)
            decide(run, ben, "reject", reason="Less.", next="send_back")
        assert advance(run) is Outcome.ENDED
        assert run.output["receipt"]["amount"] == "6.49"  # a tenth of the lamp, small enough to go by itself


class TestRequest:
    def test_a_small_cancellation_is_done_at_once(self) -> None:
        run = start(
            "support.request",
            request="Please cancel my lamp.",
            shop="a-case",
            calls=[
                call("find_user_id_by_email", email="maya.lind@example.com"),
                call("get_order_details", order_id="#H1002"),
                call("cancel_pending_order", order_id="#H1002", reason="no longer needed"),
            ],
        )

        assert advance(run) is Outcome.ENDED
        assert run.output == {"outcome": "answered", "message": "Your request is settled.", "refused": []}
        assert Desk("a-case").order("#H1002").status == "cancelled"
        assert Desk().order("#H1002").status == "pending"

    def test_a_return_above_the_amount_needs_a_person(self, ben: User) -> None:
        run = start(
            "support.request",
            request="Please take it all back.",
            calls=[
                call(
                    "return_delivered_order_items",
                    order_id="#H1003",
                    item_ids=["p-chair-grey", "p-headset-black"],
                    payment_method_id="credit_card_9921",
                )
            ],
        )

        assert advance(run) is Outcome.WAITING
        approval = decide(run, ben, "approve")
        assert (approval.policy_name, approval.arguments["shop"]) == ("pay-back-large", "")
        assert advance(run) is Outcome.ENDED
        assert Desk().order("#H1003").status == "return requested"

    def test_the_shop_s_no_is_on_record_and_the_run_ends_well(self) -> None:
        run = start(
            "support.request",
            request="Please cancel my chair.",
            calls=[call("cancel_pending_order", order_id="#H1003", reason="no longer needed")],
        )

        assert advance(run) is Outcome.ENDED
        assert run.state == "succeeded"
        assert "#H1003 is delivered" in run.output["refused"][0]
        assert run.steps.get(name="cancel_pending_order").state == "refused"

    def test_a_reviewer_s_stop_ends_it(self, ben: User) -> None:
        run = start(
            "support.request",
            request="Please take the chair back.",
            calls=[
                call(
                    "return_delivered_order_items",
                    order_id="#H1003",
                    item_ids=["p-chair-grey", "p-headset-black"],
                    payment_method_id="credit_card_9921",
                )
            ],
        )
        advance(run)
        decide(run, ben, "reject", reason="Ask for pictures first.")

        assert advance(run) is Outcome.ENDED
        assert run.output["outcome"] == "stopped"
        assert Desk().order("#H1003").status == "delivered"

    def test_a_tool_that_the_agent_does_not_have_is_told(self) -> None:
        run = start("support.request", request="Pay me.", calls=[call("issue_refund", order_id="#H1003")])

        assert advance(run) is Outcome.ENDED
        assert run.state == "succeeded"
