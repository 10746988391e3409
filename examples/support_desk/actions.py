"""What stands around each write of the shop: done once, checked, shown before -> after, weighed in money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

from examples.support_desk import records
from examples.support_desk.desk import Changed, Desk
from examples.support_desk.models import LIVE, Customer, Order
from examples.support_desk.records import Record
from examples.support_desk.writes import lookup, write_once
from tools.contract import Call, Change, Check, Evidence, Preview, Tool, cents
from tools.failures import Refused

Row = TypeVar("Row", Customer, Order)
CURRENCY = "USD"

_LABELS = {
    "status": "Status",
    "cancel_reason": "Reason",
    "exchange_price_difference": "Price difference",
    "return_payment_method_id": "Paid back to",
    "exchange_payment_method_id": "Settled with",
}


@dataclass(frozen=True)
class Action(Generic[Row]):
    """One write of the shop.

    `verb` changes records on a desk, `record` writes down what it returns, `sentence` says it to a reviewer
    (told the row as it would be, whose it is, and the arguments), `amount` is the money at stake in US
    dollars. An action with `doubts` is suspicious when one of them is not as it should be.
    """

    tool: str
    verb: Callable[..., Row]
    record: Callable[[Row], Record]
    sentence: Callable[[Row, Customer, Mapping[str, Any]], str]
    amount: Callable[[Row, Mapping[str, Any]], Decimal] = lambda row, given: Decimal(0)
    rules: tuple[str, ...] = ()  # what the shop has checked when it does not refuse, for the reviewer
    doubts: Callable[..., dict[str, bool]] | None = (
        None  # what a reviewer looks at besides; told desk and order
    )

    def do(self, key: str, shop: str, **given: Any) -> Record:
        """Act once for `key` in `shop`. Raises Refused as the shop's rules do."""
        return write_once(
            self.tool, lambda desk: self.verb(desk, **given), self.record, key=key, shop=shop, arguments=given
        )

    def stand_around(self, tool: Tool) -> None:
        """Give `tool` its preview, precondition, facts and lookup."""
        tool.preview(self._preview)
        tool.precondition(self._precondition)
        tool.facts(self._facts)
        tool.lookup(lookup)

    def _try(self, call: Call) -> tuple[Desk, Row, Customer, dict[str, Any]]:
        """The write on a desk that nobody keeps."""
        given = dict(call.values)
        desk = Desk(given.pop("shop", LIVE))
        row = self.verb(desk, **with_address(given))
        who = row if isinstance(row, Customer) else desk.customer(row.customer_number)
        return desk, row, who, given

    def _precondition(self, call: Call) -> None:
        # A call that was made already must not be refused because of what it did itself.
        if lookup(call.key) is None:
            self._try(call)

    def _facts(self, call: Call) -> dict[str, Any]:
        try:
            _, row, who, given = self._try(call)
        except Refused:
            return {"currency": CURRENCY}
        facts = {"amount": cents(self.amount(row, given)), "currency": CURRENCY, "customer": who.number}
        return facts if self.doubts is None else facts | {"suspicious": not all(self._doubts(call).values())}

    def _doubts(self, call: Call) -> dict[str, bool]:
        if self.doubts is None:
            return {}
        return self.doubts(Desk(call.values.get("shop", LIVE)), call.values["order_id"])

    def _preview(self, call: Call) -> Preview:
        desk, row, who, given = self._try(call)
        changes = [line for changed in desk.changes() for line in _lines(changed)]
        return Preview(
            self.sentence(row, who, given),
            changes=changes,
            evidence=[_about(changed) for changed in desk.changes()],
            checks=[Check(rule, True) for rule in self.rules]
            + [Check(label, ok) for label, ok in self._doubts(call).items()],
        )


def with_address(given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with the parts of an address, if it has them, put together."""
    parts = records.Address.__required_keys__
    rest = {name: value for name, value in given.items() if name not in parts}
    address = {name: given[name] for name in parts if name in given}
    return rest | ({"address": address} if address else {})


def full_name(who: Customer) -> str:
    """A customer's name as one says it."""
    return f"{who.first_name} {who.last_name}"


def one_line(address: Mapping[str, str]) -> str:
    """An address on one line."""
    names = ("address1", "address2", "city", "state", "zip", "country")
    return ", ".join(address[name] for name in names if address.get(name))


def _lines(changed: Changed) -> list[Change]:
    """The difference between two records, a line for each thing that a reviewer has a word for."""
    before, after = changed.before, changed.after
    lines = [
        Change(f"{_LABELS[name]} of {changed.number}", before.get(name, ""), after[name])
        for name in _LABELS
        if name in after and before.get(name) != after[name]
    ]
    if before["address"] != after["address"]:
        lines.append(
            Change(f"Address of {changed.number}", one_line(before["address"]), one_line(after["address"]))
        )
    return lines + (
        _order_lines(before, after) if changed.kind == "order" else _customer_lines(before, after)
    )


def _order_lines(before: Record, after: Record) -> list[Change]:
    lines = [
        Change(f"Item: {old['name']}", _piece(old), _piece(new))
        for old, new in zip(before["items"], after["items"], strict=True)
        if old != new
    ]
    if after["payment_history"] != before["payment_history"]:
        lines += _money_lines(before["payment_history"], after["payment_history"])
    returned, wanted = (
        after.get("return_items") or after.get("exchange_items"),
        after.get("exchange_new_items"),
    )
    if returned and returned != (before.get("return_items") or before.get("exchange_items")):
        lines.append(Change("Items that come back", "", ", ".join(returned)))
    if wanted and wanted != before.get("exchange_new_items"):
        lines.append(Change("Items sent instead", "", ", ".join(wanted)))
    return lines


def _money_lines(before: list[Record], after: list[Record]) -> list[Change]:
    """What the order has cost, and what has gone back to or come from each method, before and after."""
    old, new = _totals(before), _totals(after)
    left = [f"{_paid(total):.2f} {CURRENCY}" for total in (old, new)]
    words = {"refund": "Paid back to", "payment": "Charged to"}
    moved = [
        Change(
            f"{words[kind]} {method}",
            f"{old.get((kind, method), 0):.2f} {CURRENCY}",
            f"{sum_:.2f} {CURRENCY}",
        )
        for (kind, method), sum_ in new.items()
        if sum_ != old.get((kind, method))
    ]
    return [Change("Paid for the order", *left), *moved]


def _totals(history: list[Record]) -> dict[tuple[str, str], Decimal]:
    totals: dict[tuple[str, str], Decimal] = {}
    for line in history:
        place = line["transaction_type"], line["payment_method_id"]
        totals[place] = totals.get(place, Decimal(0)) + Decimal(str(line["amount"]))
    return totals


def _paid(totals: Mapping[tuple[str, str], Decimal]) -> Decimal:
    return sum((total if kind == "payment" else -total for (kind, _), total in totals.items()), Decimal(0))


def _customer_lines(before: Record, after: Record) -> list[Change]:
    return [
        Change(f"Balance of {number}", f"{before['payment_methods'][number]['balance']}", method["balance"])
        for number, method in after["payment_methods"].items()
        if method.get("balance") != before["payment_methods"][number].get("balance")
    ]


def _piece(item: Record) -> str:
    options = ", ".join(f"{name} {value}" for name, value in item["options"].items())
    return f"{item['item_id']} ({options}), {item['price']} {CURRENCY}"


def _about(changed: Changed) -> Evidence:
    before = changed.before
    if changed.kind == "customer":
        return Evidence(f"customer {changed.number}", f"{before['email']}; {one_line(before['address'])}")
    items = ", ".join(f"{item['name']} {item['price']}" for item in before["items"])
    return Evidence(f"order {changed.number}", f"{before['status']}; {items}")
