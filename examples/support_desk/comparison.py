"""What happened in an overlay of the shop, compared with what had to happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from examples.support_desk import records
from examples.support_desk.cases import ExpectedChanges
from examples.support_desk.models import LIVE, Customer, Order
from examples.support_desk.records import Record, comparable

_ABSENT = object()


def differences(shop: str, expected: ExpectedChanges) -> list[str]:
    """Where the overlay `shop` is not as `expected`, each in one sentence; empty when all is as it must be.

    Amounts count in cents, whether they are written as numbers or as text.
    """
    orders, users = changed_records(shop)
    return [*_compare("order", orders, expected.orders), *_compare("customer", users, expected.users)]


def changed_records(shop: str) -> tuple[dict[str, Record], dict[str, Record]]:
    """The orders and the customers of the overlay that are not what they are in the live shop."""
    orders = Order.objects.prefetch_related("item_rows", "payment_rows")
    customers = Customer.objects.prefetch_related("method_rows")
    return _changed(orders, shop, records.of_order), _changed(customers, shop, records.of_customer)


def _changed(rows: Any, shop: str, record_of: Any) -> dict[str, Record]:
    own = {row.number: record_of(row) for row in rows.filter(shop=shop)}
    live = {row.number: record_of(row) for row in rows.filter(shop=LIVE, number__in=own)}
    return {
        number: record for number, record in own.items() if comparable(record) != comparable(live.get(number))
    }


def _compare(kind: str, actual: Mapping[str, Record], expected: Mapping[str, Record]) -> Iterable[str]:
    for number in sorted(actual.keys() | expected.keys()):
        if number not in expected:
            yield f"{kind} {number} changed and should not have"
        elif number not in actual:
            yield f"{kind} {number} did not change and should have"
        else:
            yield from _where(f"{kind} {number}", comparable(actual[number]), comparable(expected[number]))


def _where(place: str, actual: Any, expected: Any) -> Iterable[str]:
    if isinstance(actual, dict) and isinstance(expected, dict):
        for name in sorted(actual.keys() | expected.keys()):
            yield from _where(f"{place}, {name}", actual.get(name, _ABSENT), expected.get(name, _ABSENT))
    elif isinstance(actual, list) and isinstance(expected, list) and len(actual) == len(expected):
        for position, (one, other) in enumerate(zip(actual, expected, strict=True), 1):
            yield from _where(f"{place} {position}", one, other)
    elif actual != expected:
        yield f"{place} is {_shown(actual)} and should be {_shown(expected)}"


def _shown(value: Any) -> str:
    return "absent" if value is _ABSENT else str(value)
