"""The desk: records taken out of a shop, changed in memory, put back only by `keep`.

Every rule of the shop works on a desk. So one and the same function serves to act, to check beforehand
whether acting is allowed, and to show a reviewer before -> after: a desk that is not kept changes nothing.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.db.models import Model, QuerySet

from examples.support_desk import effects, records
from examples.support_desk.models import LIVE, Customer, Item, Order, Payment, PaymentMethod, Product
from examples.support_desk.records import Record
from tools.failures import Refused

Row = TypeVar("Row", Customer, Order)


@dataclass(frozen=True)
class Changed:
    """A record that is no longer what it was."""

    kind: str  # order or customer
    number: str
    before: Record
    after: Record


class Desk:
    """Records of one shop. With `lock` their rows are held until the transaction ends."""

    def __init__(self, shop: str = LIVE, *, lock: bool = False) -> None:
        self.shop = shop
        self._lock = lock
        self._orders: dict[str, Order] = {}
        self._customers: dict[str, Customer] = {}
        self._before: dict[tuple[str, str], Record] = {}

    def order(self, number: str) -> Order:
        """The order of that number. Raises Refused when there is none."""
        if number not in self._orders:
            found = self._find(Order.objects.prefetch_related("item_rows", "payment_rows"), number)
            if found is None:
                raise Refused(f"There is no order {number}. Order numbers begin with #; ask the customer.")
            self._orders[number] = found
            self._before["order", number] = copy.deepcopy(records.of_order(found))
        return self._orders[number]

    def customer(self, number: str) -> Customer:
        """The customer of that number. Raises Refused when there is none."""
        if number not in self._customers:
            found = self._find(Customer.objects.prefetch_related("method_rows"), number)
            if found is None:
                raise Refused(
                    f"There is no customer {number}. Look the customer up by e-mail or by name and zip."
                )
            self._customers[number] = found
            self._before["customer", number] = copy.deepcopy(records.of_customer(found))
        return self._customers[number]

    def product(self, number: str) -> Product:
        """The product of that number. Raises Refused when there is none."""
        found = Product.objects.prefetch_related("variant_rows").filter(number=number).first()
        if found is None:
            raise Refused(f"There is no product {number}. This wants a product's number, not an item's.")
        return found

    def method(self, order: Order, number: str) -> PaymentMethod:
        """A payment method of the order's customer. Raises Refused when it is somebody else's or nobody's."""
        methods = self.customer(order.customer_number).methods
        if number not in methods:
            raise Refused(
                f"{number} is not a payment method of {order.customer_number}, who has {', '.join(methods)}."
            )
        return methods[number]

    def changes(self) -> list[Changed]:
        """The records on the desk that are no longer what they were when they were taken out."""
        now = {("order", number): records.of_order(order) for number, order in self._orders.items()}
        now |= {("customer", number): records.of_customer(who) for number, who in self._customers.items()}
        return [
            Changed(kind, number, self._before[kind, number], after)
            for (kind, number), after in now.items()
            if after != self._before[kind, number]
        ]

    def keep(self, key: str = "") -> None:
        """Put the changed records back, inside the caller's transaction.

        A record of the live shop that was changed in an overlay becomes the overlay's own. `key` goes onto
        the new lines of ledgers, and their transaction ids are made of it.
        """
        for change in self.changes():
            if change.kind == "order":
                self._keep_order(self._orders[change.number], key)
            else:
                self._keep_customer(self._customers[change.number])

    def _find(self, rows: QuerySet[Row], number: str) -> Row | None:
        rows = rows.filter(number=number, shop__in={LIVE, self.shop})
        if self._lock:
            # In a statement of its own: whoever had the rows before may have made the overlay's own copy.
            locked = rows.prefetch_related(None).select_for_update().order_by("id")
            list(locked.values_list("pk", flat=True))
        # The overlay's own copy, where it has one, hides the live record.
        found = {row.shop: row for row in rows}
        return found.get(self.shop) or found.get(LIVE)

    def _keep_order(self, order: Order, key: str) -> None:
        items, ledger = order.items, order.ledger
        for line in ledger:
            if not line.transaction:
                line.key, line.transaction = key, transaction_id(key, order.number, line.position)
        if order.shop != self.shop:
            _detach(order, self.shop, [*items, *ledger])
        order.save()
        for item in items:
            item.order = order
        for line in ledger:
            line.order = order
        Item.objects.bulk_create([item for item in items if item.pk is None])
        Item.objects.bulk_update([item for item in items if item.pk], ["number", "price", "options"])
        Payment.objects.bulk_create([line for line in ledger if line.pk is None])

    def _keep_customer(self, customer: Customer) -> None:
        methods = list(customer.methods.values())
        if customer.shop != self.shop:
            _detach(customer, self.shop, methods)
        customer.save()
        for method in methods:
            method.customer = customer
        PaymentMethod.objects.bulk_create([method for method in methods if method.pk is None])
        PaymentMethod.objects.bulk_update([method for method in methods if method.pk], ["balance"])


def visit(shop: str) -> Desk:
    """A desk to read from; the way to the shop takes its time."""
    effects.take_time()
    return Desk(shop)


def transaction_id(key: str, order: str, position: int) -> str:
    """The transaction id of the ledger line that the write with `key` adds there: the same each time."""
    return f"txn_{hashlib.sha256(f'{key}/{order}/{position}'.encode()).hexdigest()[:20]}"


def _detach(row: Customer | Order, shop: str, children: Sequence[Model]) -> None:
    """Make `row` a new record of `shop`, with its children, when it is saved next."""
    row.shop = shop
    for part in (row, *children):
        part.pk = None
        part._state.adding = True
