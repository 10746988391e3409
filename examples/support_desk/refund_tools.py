"""The tools of the refund case: what is known, the refund itself, and the message to the customer."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from examples.support_desk import money
from examples.support_desk.actions import CURRENCY, full_name
from examples.support_desk.catalogue import REFUND, SMALL_REFUND
from examples.support_desk.desk import Desk
from examples.support_desk.guidelines import REFUND_POLICY, Passage
from examples.support_desk.models import LIVE, Message
from examples.support_desk.parameters import OrderId, Shop
from examples.support_desk.records import Record
from examples.support_desk.writes import lookup, write_once
from tools.contract import Call, Change, Evidence, IdempotencyKey, Money, Preview
from tools.registry import tool


class Refund(TypedDict):
    """The receipt of a refund."""

    order_id: str
    amount: Money
    payment_method_id: str
    transaction_id: str


class LedgerLine(TypedDict):
    """One payment or refund of an order, with the transaction that made it."""

    transaction_id: str
    kind: str
    amount: Money
    payment_method_id: str


class Sent(TypedDict):
    """The receipt of a message."""

    message: int
    customer_id: str


@tool(effect="read", timeout=10)
def get_payments(order_id: OrderId, *, shop: Shop = LIVE) -> list[LedgerLine]:
    """Every payment and refund of an order with its transaction id, oldest first."""
    return [
        LedgerLine(
            transaction_id=line.transaction, kind=line.kind, amount=line.amount, payment_method_id=line.method
        )
        for line in Desk(shop).order(order_id).ledger
    ]


@tool(effect="read", timeout=5)
def get_refund_policy() -> list[Passage]:
    """The shop's policy on refunds, in numbered passages. Cite them by number."""
    return REFUND_POLICY


@tool(effect="read", timeout=10)
def check_refund(order_id: OrderId, *, shop: Shop = LIVE) -> dict[str, bool]:
    """What a careful person would look at before a refund, each with whether it is as it should be."""
    return money.doubts(Desk(shop), order_id)


@tool(
    effect="irreversible",
    risk="high",
    timeout=30,
    rollback="Ask finance to reverse the payment with the bank",
)
def issue_refund(order_id: OrderId, amount: Money, *, shop: Shop = LIVE, key: IdempotencyKey) -> Refund:
    """Pay part or all of an order back, at once and for good."""
    return REFUND.do(key, shop, order_id=order_id, amount=amount)


@tool(
    effect="write", risk="medium", timeout=30, rollback="Take it out of the evening's batch before it is paid"
)
def issue_small_refund(order_id: OrderId, amount: Money, *, shop: Shop = LIVE, key: IdempotencyKey) -> Refund:
    """Put a refund of at most 50 US dollars into the evening's batch, out of which it can still be taken."""
    return SMALL_REFUND.do(key, shop, order_id=order_id, amount=amount)


@tool(effect="write", risk="low", timeout=20, rollback="Send a correction; a message cannot be called back")
def send_message(
    customer_id: str,
    text: Annotated[str, Field(min_length=1, max_length=4000)],
    order_id: str = "",
    *,
    shop: Shop = LIVE,
    key: IdempotencyKey,
) -> Sent:
    """Send a customer a message about their case."""
    send = partial(_send, customer_id=customer_id, text=text, order_id=order_id, key=key)
    given = {"customer_id": customer_id, "text": text, "order_id": order_id}
    return write_once("send_message", send, _sent, key=key, shop=shop, arguments=given)


REFUND.stand_around(issue_refund)
SMALL_REFUND.stand_around(issue_small_refund)
send_message.lookup(lookup)


@send_message.preview
def _(call: Call) -> Preview:
    who = Desk(call.values["shop"]).customer(call.values["customer_id"])
    return Preview(
        f"Send {full_name(who)} a message.",
        changes=[Change("Message", "", call.values["text"])],
        evidence=[Evidence(f"customer {who.number}", who.email)],
    )


@send_message.precondition
def _(call: Call) -> None:
    Desk(call.values["shop"]).customer(call.values["customer_id"])


@send_message.facts
def _(call: Call) -> dict[str, Any]:
    return {"amount": Decimal("0.00"), "currency": CURRENCY, "customer": call.values["customer_id"]}


def _send(desk: Desk, *, customer_id: str, text: str, order_id: str, key: str) -> Message:
    customer = desk.customer(customer_id)
    return Message.objects.create(
        shop=desk.shop, customer_number=customer.number, order_number=order_id, text=text, key=key
    )


def _sent(message: Message) -> Record:
    return {"message": message.pk, "customer_id": message.customer_number}
