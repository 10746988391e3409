"""Putting a data folder into the live shop: all of it or nothing, and as often as one likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import models, transaction

from examples.support_desk import records
from examples.support_desk.folder import ShopData, read_shop
from examples.support_desk.models import LIVE, Customer, Item, Order, Payment, PaymentMethod, Product, Variant
from examples.support_desk.records import Record, comparable

BATCH = 250
Progress = Callable[[str, int, int], None]  # what is loaded, how many of it are done, of how many


@dataclass(frozen=True)
class Loaded:
    """What came of loading one kind of record."""

    kind: str
    new: int
    same: int
    differing: list[str]

    @property
    def sentence(self) -> str:
        """One line for people."""
        kept = f", {len(self.differing)} differ from the file" if self.differing else ""
        return f"{self.kind}: {self.new} new, {self.same} as they were{kept}"


@dataclass(frozen=True)
class _Kind:
    """How one kind of record is kept: its rows, how they are told apart, and how a record becomes rows."""

    name: str
    rows: models.QuerySet[Any]
    record_of: Callable[[Any], Record]
    build: Callable[[str, Record], tuple[Any, list[Any]]]  # the record's own row, and the rows under it


def load(folder: Path, *, replace: bool = False, progress: Progress = lambda *_: None) -> list[Loaded]:
    """Put the shop in `folder` into the live shop. Overlays are left alone.

    Records that are there already stay as they are, whatever happened to them since; with `replace` they
    become what the files say. Raises folder.BadData, and then nothing was loaded.
    """
    return put(read_shop(folder), replace=replace, progress=progress)


def put(data: ShopData, *, replace: bool = False, progress: Progress = lambda *_: None) -> list[Loaded]:
    """As `load`, for a shop that has been read already."""
    with transaction.atomic():
        return [_load(kind, wanted, replace, progress) for kind, wanted in _kinds(data)]


def _kinds(data: ShopData) -> list[tuple[_Kind, Mapping[str, Record]]]:
    customers = Customer.objects.filter(shop=LIVE).prefetch_related("method_rows")
    orders = Order.objects.filter(shop=LIVE).prefetch_related("item_rows", "payment_rows")
    products = Product.objects.prefetch_related("variant_rows")
    return [
        (_Kind("products", products, records.of_product, _product), data.products),
        (_Kind("customers", customers, records.of_customer, _customer), data.customers),
        (_Kind("orders", orders, records.of_order, _order), data.orders),
    ]


def _load(kind: _Kind, wanted: Mapping[str, Record], replace: bool, progress: Progress) -> Loaded:
    there = {row.number: kind.record_of(row) for row in kind.rows if row.number in wanted}
    differing = [
        number for number, record in there.items() if comparable(record) != comparable(wanted[number])
    ]
    if replace and differing:
        kind.rows.filter(number__in=differing).delete()
    new = [number for number in wanted if number not in there or (replace and number in differing)]
    for start in range(0, len(new), BATCH):
        _insert([kind.build(number, wanted[number]) for number in new[start : start + BATCH]])
        progress(kind.name, min(start + BATCH, len(new)), len(new))
    same = len(there) - len(differing)
    return Loaded(kind.name, len(new), same, [] if replace else differing)


def _insert(built: list[tuple[Any, list[Any]]]) -> None:
    parents = [parent for parent, _ in built]
    type(parents[0])._default_manager.bulk_create(parents)
    children: dict[type[models.Model], list[Any]] = {}
    for _, rows in built:
        for row in rows:
            children.setdefault(type(row), []).append(row)
    for model, rows in children.items():
        model._default_manager.bulk_create(rows, batch_size=BATCH)


def _customer(number: str, record: Record) -> tuple[Customer, list[PaymentMethod]]:
    customer = Customer(
        number=number,
        first_name=record["name"]["first_name"],
        last_name=record["name"]["last_name"],
        email=record["email"],
        address=record["address"],
        order_numbers=record["orders"],
    )
    methods = [
        PaymentMethod(
            customer=customer,
            number=method,
            source=given["source"],
            brand=given.get("brand", ""),
            last_four=given.get("last_four", ""),
            balance=given.get("balance"),
        )
        for method, given in record["payment_methods"].items()
    ]
    return customer, methods


def _product(number: str, record: Record) -> tuple[Product, list[Variant]]:
    product = Product(number=number, name=record["name"])
    variants = [
        Variant(
            product=product,
            number=item,
            options=given["options"],
            available=given["available"],
            price=given["price"],
        )
        for item, given in record["variants"].items()
    ]
    return product, variants


def _order(number: str, record: Record) -> tuple[Order, list[Item | Payment]]:
    order = Order(
        number=number,
        customer_number=record["user_id"],
        status=record["status"],
        address=record["address"],
        fulfillments=record["fulfillments"],
        cancel_reason=record.get("cancel_reason", ""),
        return_items=record.get("return_items"),
        return_payment_method=record.get("return_payment_method_id", ""),
        exchange_items=record.get("exchange_items"),
        exchange_new_items=record.get("exchange_new_items"),
        exchange_payment_method=record.get("exchange_payment_method_id", ""),
        exchange_price_difference=record.get("exchange_price_difference"),
    )
    return order, [*_items(order, record), *_payments(order, record)]


def _items(order: Order, record: Record) -> list[Item]:
    return [
        Item(
            order=order,
            position=position,
            number=given["item_id"],
            product_number=given["product_id"],
            name=given["name"],
            price=given["price"],
            options=given["options"],
        )
        for position, given in enumerate(record["items"])
    ]


def _payments(order: Order, record: Record) -> list[Payment]:
    return [
        Payment(
            order=order,
            position=position,
            kind=given["transaction_type"],
            amount=given["amount"],
            method=given["payment_method_id"],
            transaction=f"opening-{order.number.lstrip('#')}-{position}",
        )
        for position, given in enumerate(record["payment_history"])
    ]
