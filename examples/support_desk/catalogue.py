"""The shop's writes, each with the words in which a reviewer reads it and the money that is at stake."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from examples.support_desk import customers, money, orders, records
from examples.support_desk.actions import CURRENCY, Action, full_name, one_line
from examples.support_desk.models import Customer, Order, PaymentKind

Given = Mapping[str, Any]

PENDING = "The order is pending"
DELIVERED = "The order was delivered"
OWN_METHOD = "The payment method is the customer's own"
COVERED = "If it is a gift card, it covers the amount"
ON_ORDER = "The items are on the order, as often as they are named"
AVAILABLE = "Each new item is an available variant of the same product"


def refunded(order: Order, given: Given) -> Decimal:
    """What the write on the desk pays back: ledger lines that are not in the database yet."""
    new = [line.amount for line in order.ledger if line.pk is None and line.kind == PaymentKind.REFUND]
    return sum(new, Decimal(0))


def moved(order: Order, given: Given) -> Decimal:
    """What the write on the desk books, whichever way; of two lines for one sum, that sum."""
    return max((line.amount for line in order.ledger if line.pk is None), default=Decimal(0))


def returned(order: Order, given: Given) -> Decimal:
    """What the named items cost."""
    prices: dict[str, list[Decimal]] = {}
    for item in order.items:
        prices.setdefault(item.number, []).append(item.price)
    return sum((prices[number].pop(0) for number in given["item_ids"]), Decimal(0))


def _cancel(order: Order, who: Customer, given: Given) -> str:
    back = refunded(order, given)
    return (
        f"Cancel order {order.number} of {full_name(who)} ({given['reason']}) and pay back {back} {CURRENCY}."
    )


def _address(order: Order, who: Customer, given: Given) -> str:
    return f"Send order {order.number} of {full_name(who)} to {one_line(order.address)}."


def _payment(order: Order, who: Customer, given: Given) -> str:
    method, amount = given["payment_method_id"], moved(order, given)
    return f"Have order {order.number} of {full_name(who)}, {amount} {CURRENCY}, paid by {method}."


def _items(order: Order, who: Customer, given: Given) -> str:
    line = order.ledger[-1]
    how = "more to pay" if line.kind == PaymentKind.PAYMENT else "paid back"
    count = len(given["item_ids"])
    return (
        f"Change {count} item(s) of order {order.number} of {full_name(who)}: {line.amount} {CURRENCY} {how}."
    )


def _return(order: Order, who: Customer, given: Given) -> str:
    worth, count = returned(order, given), len(given["item_ids"])
    method = order.return_payment_method
    return (
        f"Take back {count} item(s) of order {order.number} of {full_name(who)}, "
        f"worth {worth} {CURRENCY}, to be paid to {method}."
    )


def _exchange(order: Order, who: Customer, given: Given) -> str:
    difference = order.exchange_price_difference or Decimal(0)
    how = "to be paid by the customer" if difference > 0 else "to be paid back"
    return (
        f"Exchange {len(given['item_ids'])} item(s) of order {order.number} of {full_name(who)}: "
        f"{abs(difference)} {CURRENCY} {how} ({order.exchange_payment_method})."
    )


def _home(who: Customer, same: Customer, given: Given) -> str:
    return f"Change the address of {full_name(who)} to {one_line(who.address)}."


def _refund(order: Order, who: Customer, given: Given) -> str:
    amount, method = given["amount"], order.ledger[-1].method
    return f"Pay {amount} {CURRENCY} of order {order.number} back to {full_name(who)} ({method})."


CANCEL = Action(
    tool="cancel_pending_order",
    verb=orders.cancel,
    record=records.of_order,
    sentence=_cancel,
    amount=refunded,
    rules=(PENDING, "The reason is one that the shop takes"),
)
ORDER_ADDRESS = Action(
    tool="modify_pending_order_address",
    verb=orders.change_address,
    record=records.of_order,
    sentence=_address,
    rules=(PENDING,),
)
ORDER_PAYMENT = Action(
    tool="modify_pending_order_payment",
    verb=orders.change_payment,
    record=records.of_order,
    sentence=_payment,
    amount=moved,
    rules=(PENDING, "The order has one payment", OWN_METHOD, COVERED),
)
ORDER_ITEMS = Action(
    tool="modify_pending_order_items",
    verb=orders.change_items,
    record=records.of_order,
    sentence=_items,
    amount=moved,
    rules=(PENDING, ON_ORDER, AVAILABLE, OWN_METHOD, COVERED),
)
RETURN = Action(
    tool="return_delivered_order_items",
    verb=orders.return_items,
    record=records.of_order,
    sentence=_return,
    amount=returned,
    rules=(DELIVERED, ON_ORDER, OWN_METHOD, "It is the one first paid by, or a gift card"),
)
EXCHANGE = Action(
    tool="exchange_delivered_order_items",
    verb=orders.exchange_items,
    record=records.of_order,
    sentence=_exchange,
    amount=lambda order, given: abs(order.exchange_price_difference or Decimal(0)),
    rules=(DELIVERED, ON_ORDER, AVAILABLE, OWN_METHOD, COVERED),
)
HOME_ADDRESS = Action(
    tool="modify_user_address",
    verb=customers.change_address,
    record=records.of_customer,
    sentence=_home,
    rules=("The customer exists",),
)
REFUND = Action(
    tool="issue_refund",
    verb=money.refund,
    record=money.receipt,
    sentence=_refund,
    amount=refunded,
    rules=("It is no more than what is still paid for the order",),
    doubts=money.doubts,
)
SMALL_REFUND = dataclasses.replace(
    REFUND,
    tool="issue_small_refund",
    verb=money.small_refund,
    rules=(*REFUND.rules, f"It is at most {money.SMALL} {CURRENCY}"),
)
