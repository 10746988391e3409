"""What the gate and the reviewer learn about the shop's tools."""

from typing import Any

import pytest

from examples.support_desk.comparison import changed_records
from examples.support_desk.models import Message
from tools import registry
from tools.contract import Call, Tool
from tools.failures import Refused

pytestmark = pytest.mark.usefixtures("shop")

HOME = {
    "address1": "1 New Street",
    "address2": "",
    "city": "Boston",
    "state": "MA",
    "country": "USA",
    "zip": "02108",
}
SWAP = {"item_ids": ["p-chair-grey"], "new_item_ids": ["p-chair-green"]}
CALLS: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "cancel_pending_order",
        {"order_id": "#H1002", "reason": "no longer needed"},
        "64.90",
        "Cancel order #H1002 of Maya Lind",
    ),
    (
        "modify_pending_order_address",
        {"order_id": "#H1008", **HOME},
        "0.00",
        "to 1 New Street, Boston, MA, 02108, USA",
    ),
    (
        "modify_pending_order_payment",
        {"order_id": "#H1002", "payment_method_id": "credit_card_4410"},
        "64.90",
        "paid by credit_card_4410",
    ),
    (
        "modify_pending_order_items",
        {"order_id": "#H1008", **SWAP, "payment_method_id": "gift_card_0042"},
        "10.00",
        "10.00 USD more to pay",
    ),
    (
        "return_delivered_order_items",
        {"order_id": "#H1001", "item_ids": ["p-cup-blue"], "payment_method_id": "gift_card_0007"},
        "18.40",
        "worth 18.40 USD",
    ),
    (
        "exchange_delivered_order_items",
        {"order_id": "#H1003", **SWAP, "payment_method_id": "credit_card_9921"},
        "10.00",
        "to be paid by the customer",
    ),
    ("modify_user_address", {"user_id": "maya_lind", **HOME}, "0.00", "Change the address of Maya Lind"),
    (
        "issue_refund",
        {"order_id": "#H1003", "amount": "489.00"},
        "489.00",
        "Pay 489.00 USD of order #H1003 back to Tobias Okoro",
    ),
    (
        "issue_small_refund",
        {"order_id": "#H1001", "amount": "18.40"},
        "18.40",
        "Pay 18.40 USD of order #H1001",
    ),
]


def proposed(name: str, arguments: dict[str, Any], key: str = "k1") -> tuple[Tool, Call]:
    tool = registry.get(name)
    return tool, tool.call(tool.validate(arguments | {"shop": "a-case"}), key)


@pytest.mark.parametrize(("name", "arguments", "amount", "sentence"), CALLS)
class TestWrites:
    def test_facts(self, name: str, arguments: dict[str, Any], amount: str, sentence: str) -> None:
        tool, call = proposed(name, arguments)
        facts = tool.declared_facts(call)
        assert (facts["amount"], facts["currency"]) == (amount, "USD")
        assert facts["customer"]

    def test_preview(self, name: str, arguments: dict[str, Any], amount: str, sentence: str) -> None:
        tool, call = proposed(name, arguments)
        preview = tool.show(call)
        assert sentence in preview.sentence
        assert preview.changes
        assert preview.evidence
        assert all(check.ok for check in preview.checks)

    def test_looking_changes_nothing(
        self, name: str, arguments: dict[str, Any], amount: str, sentence: str
    ) -> None:
        tool, call = proposed(name, arguments)
        tool.check(call)
        tool.show(call)
        tool.declared_facts(call)
        assert changed_records("a-case") == ({}, {})
        assert tool.find("k1") is None

    def test_it_is_done_once(self, name: str, arguments: dict[str, Any], amount: str, sentence: str) -> None:
        tool, call = proposed(name, arguments)
        first = tool.invoke(call.arguments, "k1")
        changed = changed_records("a-case")
        assert changed != ({}, {})
        tool.check(call)  # what the call itself has done is no reason against it
        assert tool.invoke(call.arguments, "k1") == first == tool.find("k1")
        assert changed_records("a-case") == changed


class TestRefusals:
    def test_the_shop_s_rules_come_before_any_person(self) -> None:
        tool, call = proposed("cancel_pending_order", {"order_id": "#H1001", "reason": "no longer needed"})
        with pytest.raises(Refused, match="delivered"):
            tool.check(call)
        assert tool.declared_facts(call) == {"currency": "USD"}

    def test_a_small_refund_is_small(self) -> None:
        tool, call = proposed("issue_small_refund", {"order_id": "#H1003", "amount": "50.01"})
        with pytest.raises(Refused, match="at most 50.00 USD"):
            tool.check(call)


class TestRefund:
    def test_doubts_make_it_suspicious(self) -> None:
        plain, strange = (
            tool.declared_facts(call)
            for tool, call in (
                proposed("issue_small_refund", {"order_id": "#H1001", "amount": "18.40"}),
                proposed("issue_small_refund", {"order_id": "#H1006", "amount": "18.40"}),
            )
        )
        assert (plain["suspicious"], strange["suspicious"]) == (False, True)

    def test_the_reviewer_sees_the_doubts(self) -> None:
        tool, call = proposed("issue_small_refund", {"order_id": "#H1006", "amount": "18.40"})
        failed = [check.label for check in tool.show(call).checks if not check.ok]
        assert "The order went to the customer's own address" in failed

    def test_the_transaction_is_on_record(self) -> None:
        tool, call = proposed("issue_refund", {"order_id": "#H1003", "amount": "489.00"})
        receipt = tool.invoke(call.arguments, "k1")
        payments = registry.get("get_payments")
        lines = payments.invoke(payments.validate({"order_id": "#H1003", "shop": "a-case"}), "")
        assert lines[-1]["transaction_id"] == receipt["transaction_id"]


class TestMessage:
    def test_it_works(self) -> None:
        tool, call = proposed("send_message", {"customer_id": "maya_lind", "text": "It is done."})
        assert tool.show(call).sentence == "Send Maya Lind a message."
        tool.invoke(call.arguments, "k1")
        tool.invoke(call.arguments, "k1")
        assert [message.text for message in Message.objects.all()] == ["It is done."]

    def test_it_refuses_a_stranger(self) -> None:
        tool, call = proposed("send_message", {"customer_id": "nobody", "text": "Hello."})
        with pytest.raises(Refused, match="no customer nobody"):
            tool.check(call)
