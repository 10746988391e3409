"""The shop's rules for orders: who may change what, when, and what follows for the money.

Each verb works on a desk, raises Refused before it has changed anything, and returns the order as it is then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from examples.support_desk.desk import Desk
from examples.support_desk.models import Item, Order, OrderStatus, Payment, PaymentKind, Variant
from examples.support_desk.records import Address
from tools.failures import Refused

CANCEL_REASONS = ("no longer needed", "ordered by mistake")


def cancel(desk: Desk, order_id: str, reason: str) -> Order:
    """Cancel a pending order and pay every payment back the way it came."""
    order = _in_status(desk.order(order_id), OrderStatus.PENDING, "cancelled")
    if reason not in CANCEL_REASONS:
        raise Refused(f"'{reason}' is no reason to cancel; the shop takes: {' or '.join(CANCEL_REASONS)}.")
    methods = desk.customer(order.customer_number).methods
    for line in _still_paid(order):
        order.book(PaymentKind.REFUND, line.amount, line.method)
        if line.method in methods:
            methods[line.method].add(line.amount)
    order.status = OrderStatus.CANCELLED
    order.cancel_reason = reason
    return order


def change_address(desk: Desk, order_id: str, address: Address) -> Order:
    """Send a pending order elsewhere."""
    order = _in_status(desk.order(order_id), OrderStatus.PENDING, "changed")
    order.address = dict(address)
    return order


def change_payment(desk: Desk, order_id: str, payment_method_id: str) -> Order:
    """Have a pending order paid by another of the customer's methods, and pay the first one back."""
    order = _in_status(desk.order(order_id), OrderStatus.PENDING, "changed")
    if len(order.ledger) != 1 or order.ledger[0].kind != PaymentKind.PAYMENT:
        raise Refused(
            f"Order {order_id} must have exactly one payment for that; it has {len(order.ledger)} entries."
        )
    method, old = desk.method(order, payment_method_id), order.ledger[0]
    if method.number == old.method:
        raise Refused(f"Order {order_id} is paid by {payment_method_id} already.")
    if not method.covers(old.amount):
        raise Refused(
            f"The gift card {payment_method_id} holds {method.balance}, the order costs {old.amount}."
        )
    order.book(PaymentKind.PAYMENT, old.amount, method.number)
    order.book(PaymentKind.REFUND, old.amount, old.method)
    method.add(-old.amount)
    if old.method in (methods := desk.customer(order.customer_number).methods):
        methods[old.method].add(old.amount)
    return order


def change_items(
    desk: Desk, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str], payment_method_id: str
) -> Order:
    """Put other variants of the same products on a pending order, once, and settle the difference."""
    order = _in_status(desk.order(order_id), OrderStatus.PENDING, "changed")
    swaps = _swaps(desk, order, item_ids, new_item_ids)
    difference = _difference(swaps)
    method = desk.method(order, payment_method_id)
    if not method.covers(difference):
        raise Refused(
            f"The gift card {payment_method_id} holds {method.balance}, the difference is {difference}."
        )
    kind = PaymentKind.PAYMENT if difference > 0 else PaymentKind.REFUND
    order.book(kind, abs(difference), method.number)
    method.add(-difference)
    for item, variant in swaps:
        item.number, item.price, item.options = variant.number, variant.price, variant.options
    order.status = OrderStatus.CHANGED
    return order


def return_items(desk: Desk, order_id: str, item_ids: Sequence[str], payment_method_id: str) -> Order:
    """Take a request to return items of a delivered order; the money moves when they are back."""
    order = _in_status(desk.order(order_id), OrderStatus.DELIVERED, "returned")
    method = desk.method(order, payment_method_id)
    first = order.ledger[0].method if order.ledger else ""
    if not method.is_gift_card and method.number != first:
        raise Refused(
            f"A return is paid back to {first or 'a gift card'} or to a gift card, not to {method.number}."
        )
    _on_order(order, item_ids)
    order.status = OrderStatus.RETURNING
    order.return_items = sorted(item_ids)
    order.return_payment_method = method.number
    return order


def exchange_items(
    desk: Desk, order_id: str, item_ids: Sequence[str], new_item_ids: Sequence[str], payment_method_id: str
) -> Order:
    """Take a request to exchange items of a delivered order for other variants; no money moves yet."""
    order = _in_status(desk.order(order_id), OrderStatus.DELIVERED, "exchanged")
    difference = _difference(_swaps(desk, order, item_ids, new_item_ids))
    method = desk.method(order, payment_method_id)
    if not method.covers(difference):
        raise Refused(
            f"The gift card {payment_method_id} holds {method.balance}, the difference is {difference}."
        )
    order.status = OrderStatus.EXCHANGING
    order.exchange_items = sorted(item_ids)
    order.exchange_new_items = sorted(new_item_ids)
    order.exchange_payment_method = method.number
    order.exchange_price_difference = difference
    return order


def _in_status(order: Order, status: OrderStatus, verb: str) -> Order:
    if order.status != status:
        raise Refused(
            f"Order {order.number} is {order.status}; only one that is {status.value} can be {verb}."
        )
    return order


def _on_order(order: Order, item_ids: Sequence[str]) -> list[Item]:
    """The pieces that are meant, each as often as it is named."""
    if not item_ids:
        raise Refused(f"No item of order {order.number} is named.")
    there: dict[str, list[Item]] = {}
    for item in order.items:
        there.setdefault(item.number, []).append(item)
    for number, times in Counter(item_ids).items():
        if times > len(there.get(number, ())):
            raise Refused(
                f"Item {number} is on order {order.number} {len(there.get(number, ()))} times, not {times}."
            )
    return [there[number].pop(0) for number in item_ids]


def _swaps(
    desk: Desk, order: Order, item_ids: Sequence[str], new_item_ids: Sequence[str]
) -> list[tuple[Item, Variant]]:
    items = _on_order(order, item_ids)
    if len(item_ids) != len(new_item_ids):
        raise Refused(
            f"{len(item_ids)} items cannot be replaced by {len(new_item_ids)}: name a new one for each."
        )
    return [(item, _variant(desk, item, new)) for item, new in zip(items, new_item_ids, strict=True)]


def _variant(desk: Desk, item: Item, number: str) -> Variant:
    variant = desk.product(item.product_number).variants.get(number)
    if variant is None:
        raise Refused(f"Item {number} is no variant of {item.name} ({item.product_number}).")
    if not variant.available:
        raise Refused(f"Item {number} ({item.name}) is not available.")
    return variant


def _difference(swaps: list[tuple[Item, Variant]]) -> Decimal:
    return sum((variant.price - item.price for item, variant in swaps), Decimal(0))


def _still_paid(order: Order) -> list[Payment]:
    """The payments that have not been paid back yet, as when the method was changed."""
    refunds = Counter((line.method, line.amount) for line in order.ledger if line.kind == PaymentKind.REFUND)
    left = []
    for line in order.ledger:
        if line.kind == PaymentKind.PAYMENT and refunds[line.method, line.amount] > 0:
            refunds[line.method, line.amount] -= 1
        elif line.kind == PaymentKind.PAYMENT:
            left.append(line)
    return left
