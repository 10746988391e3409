"""The shop's records as plain JSON: what the tools answer, what a data folder holds, what is compared."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from examples.support_desk.models import Customer, Item, Order, Payment, PaymentMethod, Product
from tools.contract import Money, cents

#: One of the shapes below, as plain JSON.
Record = Any

_EXACTLY = ConfigDict(extra="forbid")
_MONEY = frozenset({"amount", "price", "balance", "exchange_price_difference"})


@with_config(_EXACTLY)
class Address(TypedDict):
    """A postal address."""

    address1: str
    address2: str
    city: str
    state: str
    country: str
    zip: str


@with_config(_EXACTLY)
class Name(TypedDict):
    """A person's name."""

    first_name: str
    last_name: str


@with_config(_EXACTLY)
class MethodRecord(TypedDict):
    """A way to pay; gift cards have a balance, cards a brand and their last four digits."""

    id: str
    source: str
    brand: NotRequired[str]
    last_four: NotRequired[str]
    balance: NotRequired[Money]


@with_config(_EXACTLY)
class CustomerRecord(TypedDict):
    """A customer as the desk sees one."""

    name: Name
    address: Address
    email: str
    payment_methods: dict[str, MethodRecord]
    orders: list[str]


@with_config(_EXACTLY)
class VariantRecord(TypedDict):
    """One way to order a product."""

    item_id: str
    options: dict[str, str]
    available: bool
    price: Money


@with_config(_EXACTLY)
class ProductRecord(TypedDict):
    """A product with its variants by item id."""

    name: str
    product_id: str
    variants: dict[str, VariantRecord]


@with_config(_EXACTLY)
class ItemRecord(TypedDict):
    """One piece on an order."""

    name: str
    product_id: str
    item_id: str
    price: Money
    options: dict[str, str]


@with_config(_EXACTLY)
class Fulfillment(TypedDict):
    """One parcel."""

    tracking_id: list[str]
    item_ids: list[str]


@with_config(_EXACTLY)
class PaymentRecord(TypedDict):
    """One line of an order's payment history."""

    transaction_type: Literal["payment", "refund"]
    amount: Money
    payment_method_id: str


@with_config(_EXACTLY)
class OrderRecord(TypedDict):
    """An order as the desk sees one; the last fields are there once they mean something."""

    order_id: str
    user_id: str
    address: Address
    items: list[ItemRecord]
    fulfillments: list[Fulfillment]
    status: Literal[
        "pending",
        "pending (item modified)",
        "processed",
        "delivered",
        "cancelled",
        "return requested",
        "exchange requested",
    ]
    payment_history: list[PaymentRecord]
    cancel_reason: NotRequired[str]
    return_items: NotRequired[list[str]]
    return_payment_method_id: NotRequired[str]
    exchange_items: NotRequired[list[str]]
    exchange_new_items: NotRequired[list[str]]
    exchange_payment_method_id: NotRequired[str]
    exchange_price_difference: NotRequired[Money]


def of_customer(customer: Customer) -> Record:
    """The record of `customer`."""
    return {
        "name": {"first_name": customer.first_name, "last_name": customer.last_name},
        "address": customer.address,
        "email": customer.email,
        "payment_methods": {number: _of_method(method) for number, method in customer.methods.items()},
        "orders": customer.order_numbers,
    }


def of_product(product: Product) -> Record:
    """The record of `product` with all its variants."""
    return {
        "name": product.name,
        "product_id": product.number,
        "variants": {
            number: {
                "item_id": number,
                "options": variant.options,
                "available": variant.available,
                "price": _money(variant.price),
            }
            for number, variant in product.variants.items()
        },
    }


def of_order(order: Order) -> Record:
    """The record of `order` with its items and its payment history."""
    return {
        "order_id": order.number,
        "user_id": order.customer_number,
        "address": order.address,
        "items": [_of_item(item) for item in order.items],
        "fulfillments": order.fulfillments,
        "status": str(order.status),
        "payment_history": [_of_payment(line) for line in order.ledger],
        **{name: value for name, value in _later_fields(order).items() if value not in (None, "")},
    }


def comparable(value: Any, name: str = "") -> Any:
    """`value` with every amount in it as an exact number of cents, whether it came as a number or as text."""
    if isinstance(value, dict):
        return {key: comparable(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [comparable(item, name) for item in value]
    if name in _MONEY and not isinstance(value, bool):
        try:
            return cents(value)
        except (InvalidOperation, TypeError):
            return value
    return value


def _money(amount: Decimal) -> str:
    return str(cents(amount))


def _of_method(method: PaymentMethod) -> Record:
    record: Record = {
        "source": method.source,
        "brand": method.brand,
        "last_four": method.last_four,
        "id": method.number,
    }
    if method.balance is not None:
        record["balance"] = _money(method.balance)
    return {name: value for name, value in record.items() if value}


def _of_item(item: Item) -> Record:
    return {
        "name": item.name,
        "product_id": item.product_number,
        "item_id": item.number,
        "price": _money(item.price),
        "options": item.options,
    }


def _of_payment(line: Payment) -> Record:
    return {
        "transaction_type": str(line.kind),
        "amount": _money(line.amount),
        "payment_method_id": line.method,
    }


def _later_fields(order: Order) -> Record:
    difference = order.exchange_price_difference
    return {
        "cancel_reason": order.cancel_reason,
        "return_items": order.return_items,
        "return_payment_method_id": order.return_payment_method,
        "exchange_items": order.exchange_items,
        "exchange_new_items": order.exchange_new_items,
        "exchange_payment_method_id": order.exchange_payment_method,
        "exchange_price_difference": None if difference is None else _money(difference),
    }
