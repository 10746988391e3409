"""Refunds of a given amount, what speaks against one, and sums."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from decimal import Decimal, DecimalException
from operator import add, mul, sub, truediv

from examples.support_desk.desk import Desk
from examples.support_desk.models import Order, PaymentKind
from examples.support_desk.records import Record
from tools.contract import cents
from tools.failures import Refused

# US dollars; up to here a refund waits in the evening's batch and can be taken out again.
SMALL = Decimal("50.00")
_MANY_REFUNDED = 2

_SUM = re.compile(r"[0-9+\-*/(). ]{1,200}")
_OPERATIONS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
}


def refund(desk: Desk, order_id: str, amount: Decimal) -> Order:
    """Pay `amount` (US dollars) of what an order cost back to the method that paid it first.

    Raises Refused for nothing, for part of a cent, and for more than is still paid.
    """
    order = desk.order(order_id)
    if amount <= 0 or amount != cents(amount):
        raise Refused(f"A refund is a sum of dollars and cents above zero, not {amount}.")
    if amount > order.paid:
        raise Refused(f"Order {order_id} has {cents(order.paid)} USD left to refund, not {amount}.")
    method = order.ledger[0].method
    order.book(PaymentKind.REFUND, amount, method)
    methods = desk.customer(order.customer_number).methods
    if method in methods:
        methods[method].add(amount)
    return order


def small_refund(desk: Desk, order_id: str, amount: Decimal) -> Order:
    """As `refund`, for at most SMALL. Raises Refused for more."""
    if amount > SMALL:
        raise Refused(
            f"A small refund is at most {SMALL} USD; {amount} must be paid out at once, by issue_refund."
        )
    return refund(desk, order_id, amount)


def receipt(order: Order) -> Record:
    """What a refund answers: its transaction, the last line of the order's ledger."""
    line = order.ledger[-1]
    return {
        "order_id": order.number,
        "amount": str(cents(line.amount)),
        "payment_method_id": line.method,
        "transaction_id": line.transaction,
    }


def doubts(desk: Desk, order_id: str) -> dict[str, bool]:
    """What a careful person would look at before a refund on this order, and whether each is in order."""
    order = desk.order(order_id)
    customer = desk.customer(order.customer_number)
    others = [desk.order(number) for number in customer.order_numbers if number != order_id]
    refunded = sum(any(line.kind == PaymentKind.REFUND for line in other.ledger) for other in others)
    return {
        "The order went to the customer's own address": order.address == customer.address,
        "It was paid by a method of the customer": bool(order.ledger)
        and order.ledger[0].method in customer.methods,
        f"Fewer than {_MANY_REFUNDED} other orders of the customer were refunded": refunded < _MANY_REFUNDED,
        "The order itself was not refunded before": all(
            line.kind != PaymentKind.REFUND for line in order.ledger
        ),
    }


def calculate(expression: str) -> Decimal:
    """The value of a sum of numbers with ``+ - * /`` and parentheses, rounded to two places.

    Raises Refused for anything else and for a division by zero.
    """
    if not _SUM.fullmatch(expression):
        raise Refused("A sum holds digits, + - * / ( ) . and blanks only, 200 characters at most.")
    text = expression.strip()
    try:
        return cents(_value(ast.parse(text, mode="eval").body, text))
    except (SyntaxError, ValueError, DecimalException, RecursionError, MemoryError):
        raise Refused(f"'{expression}' cannot be worked out.") from None


def _value(part: ast.expr, text: str) -> Decimal:
    match part:
        case ast.Constant():
            # The digits as written: a float would bring its own last places.
            return Decimal(ast.get_source_segment(text, part) or "")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, text)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, text)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATIONS:
            return _OPERATIONS[type(operator)](_value(left, text), _value(right, text))
    raise ValueError("not a sum")
