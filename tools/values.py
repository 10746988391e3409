"""Types for the signatures of tools: amounts of money and idempotency keys."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated, Any, NewType

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

#: A keyword-only parameter of this type receives the call's idempotency key: no argument, nobody proposes it.
IdempotencyKey = NewType("IdempotencyKey", str)

_CENT = Decimal("0.01")
# Fifteen digits are what a binary float carries faithfully, so such a JSON number is what its author wrote.
_LARGEST = Decimal("9999999999999.99")


def money(value: object) -> Decimal:
    """An exact amount with two decimals, from text, a Decimal, an int, or a float that shows at most two.

    Nothing is rounded here: ``0.1 + 0.2`` is refused (ValueError): whoever made it must say how to round.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("should be an amount such as 12.50")
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("should be an amount such as 12.50") from None
    if not amount.is_finite() or not -_LARGEST <= amount <= _LARGEST:
        raise ValueError(f"should be an amount between -{_LARGEST} and {_LARGEST}")
    exact = amount.quantize(_CENT)
    if exact != amount:
        raise ValueError("has more than two decimals; round it first, with cents()")
    return exact + 0  # no negative zero


def cents(value: float | Decimal | str) -> Decimal:
    """`value` rounded to cents, half to even: for amounts that were computed in binary floats."""
    return Decimal(repr(value) if isinstance(value, float) else value).quantize(_CENT, ROUND_HALF_EVEN) + 0


def _as_text(amount: Decimal) -> str:
    return str(money(amount))


_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^-?[0-9]{1,13}\.[0-9]{2}$",
    "description": 'An amount with two decimals, as text: "12.50".',
}
#: A Decimal with two decimals; it travels as JSON text ("12.50") and is never rounded behind anybody's back.
Money = Annotated[
    Decimal, BeforeValidator(money), PlainSerializer(_as_text, return_type=str), WithJsonSchema(_SCHEMA)
]
