"""What a support agent may do in the shop. The tools of the refund case are in refund_tools."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from examples.support_desk import catalogue, customers, money, records, refund_tools
from examples.support_desk.desk import visit
from examples.support_desk.models import LIVE
from examples.support_desk.parameters import ItemIds, MethodId, OrderId, Shop
from examples.support_desk.records import Address, CustomerRecord, OrderRecord, ProductRecord
from tools.contract import IdempotencyKey, Money
from tools.registry import tool

__all__ = ["refund_tools"]

# --- Reads -----------------------------------------------------------------------------------------


@tool(effect="read", timeout=10)
def find_user_id_by_email(email: str, *, shop: Shop = LIVE) -> str:
    """Find a customer's number by their exact e-mail address."""
    return customers.by_email(visit(shop), email).number


@tool(effect="read", timeout=10)
def find_user_id_by_name_zip(first_name: str, last_name: str, zip: str, *, shop: Shop = LIVE) -> str:
    """Find a customer's number by first name, last name and zip code."""
    return customers.by_name_and_zip(visit(shop), first_name, last_name, zip).number


@tool(effect="read", timeout=10)
def get_user_details(user_id: str, *, shop: Shop = LIVE) -> CustomerRecord:
    """A customer's name, address, e-mail, payment methods and order numbers."""
    return records.of_customer(visit(shop).customer(user_id))


@tool(effect="read", timeout=10)
def get_order_details(order_id: OrderId, *, shop: Shop = LIVE) -> OrderRecord:
    """An order's items, status, address, parcels and payment history."""
    return records.of_order(visit(shop).order(order_id))


@tool(effect="read", timeout=10)
def get_product_details(product_id: str, *, shop: Shop = LIVE) -> ProductRecord:
    """A product's variants, with their options, prices and whether they are available."""
    return records.of_product(visit(shop).product(product_id))


@tool(effect="read", timeout=10)
def list_all_product_types(*, shop: Shop = LIVE) -> dict[str, str]:
    """Every product's name with its product number."""
    return customers.product_types()


@tool(effect="read", timeout=5)
def calculate(expression: Annotated[str, Field(description="Digits, + - * / ( ) . and blanks.")]) -> Money:
    """Work out a sum, rounded to two places."""
    return money.calculate(expression)


@tool(effect="read", timeout=5)
def think(thought: str) -> str:
    """Write a thought down. Nothing happens."""
    return "Noted."


@tool(effect="draft", timeout=5)
def transfer_to_human_agents(summary: str) -> str:
    """Hand the case to a person, with a summary of it. The shop's records stay as they are."""
    return "A person takes the case from here."


# --- Pending orders --------------------------------------------------------------------------------


@tool(
    effect="write",
    risk="medium",
    timeout=20,
    rollback="Place the order again with the customer and charge it anew",
)
def cancel_pending_order(
    order_id: OrderId,
    reason: Annotated[str, Field(description="Either 'no longer needed' or 'ordered by mistake'.")],
    *,
    shop: Shop = LIVE,
    key: IdempotencyKey,
) -> OrderRecord:
    """Cancel a pending order and pay it back the way it was paid."""
    return catalogue.CANCEL.do(key, shop, order_id=order_id, reason=reason)


@tool(
    effect="write",
    risk="low",
    timeout=20,
    rollback="Set the earlier address again while the order is pending",
)
def modify_pending_order_address(
    order_id: OrderId,
    address1: str,
    address2: str,
    city: str,
    state: str,
    country: str,
    zip: str,
    *,
    shop: Shop = LIVE,
    key: IdempotencyKey,
) -> OrderRecord:
    """Send a pending order to another address."""
    address = Address(address1=address1, address2=address2, city=city, state=state, country=country, zip=zip)
    return catalogue.ORDER_ADDRESS.do(key, shop, order_id=order_id, address=address)


@tool(
    effect="write",
    risk="medium",
    timeout=20,
    rollback="Set the earlier payment method again, by hand in the shop",
)
def modify_pending_order_payment(
    order_id: OrderId, payment_method_id: MethodId, *, shop: Shop = LIVE, key: IdempotencyKey
) -> OrderRecord:
    """Have a pending order paid by another of the customer's payment methods."""
    given = {"order_id": order_id, "payment_method_id": payment_method_id}
    return catalogue.ORDER_PAYMENT.do(key, shop, **given)


@tool(
    effect="write",
    risk="medium",
    timeout=20,
    rollback="Put the earlier items back on the order, by hand in the shop",
)
def modify_pending_order_items(
    order_id: OrderId,
    item_ids: ItemIds,
    new_item_ids: ItemIds,
    payment_method_id: MethodId,
    *,
    shop: Shop = LIVE,
    key: IdempotencyKey,
) -> OrderRecord:
    """Put other variants of the same products on a pending order. This can be done once an order."""
    given = {"item_ids": item_ids, "new_item_ids": new_item_ids, "payment_method_id": payment_method_id}
    return catalogue.ORDER_ITEMS.do(key, shop, order_id=order_id, **given)


# --- Delivered orders ------------------------------------------------------------------------------


@tool(
    effect="write",
    risk="medium",
    timeout=20,
    rollback="Withdraw the return with the customer before it is sent",
)
def return_delivered_order_items(
    order_id: OrderId,
    item_ids: ItemIds,
    payment_method_id: MethodId,
    *,
    shop: Shop = LIVE,
    key: IdempotencyKey,
) -> OrderRecord:
    """Ask for items of a delivered order to be taken back and paid back to the given method."""
    given = {"item_ids": item_ids, "payment_method_id": payment_method_id}
    return catalogue.RETURN.do(key, shop, order_id=order_id, **given)


@tool(
    effect="write",
    risk="medium",
    timeout=20,
    rollback="Withdraw the exchange with the customer before it is sent",
)
def exchange_delivered_order_items(
    order_id: OrderId,
    item_ids: ItemIds,
    new_item_ids: ItemIds,
    payment_method_id: MethodId,
    *,
    shop: Shop = LIVE,
    key: IdempotencyKey,
) -> OrderRecord:
    """Ask for items of a delivered order to be exchanged for other variants of the same products."""
    given = {"item_ids": item_ids, "new_item_ids": new_item_ids, "payment_method_id": payment_method_id}
    return catalogue.EXCHANGE.do(key, shop, order_id=order_id, **given)


# --- Customers -------------------------------------------------------------------------------------


@tool(effect="write", risk="low", timeout=20, rollback="Set the earlier address again")
def modify_user_address(
    user_id: str,
    address1: str,
    address2: str,
    city: str,
    state: str,
    country: str,
    zip: str,
    *,
    shop: Shop = LIVE,
    key: IdempotencyKey,
) -> CustomerRecord:
    """Change a customer's own address."""
    address = Address(address1=address1, address2=address2, city=city, state=state, country=country, zip=zip)
    return catalogue.HOME_ADDRESS.do(key, shop, user_id=user_id, address=address)


catalogue.CANCEL.stand_around(cancel_pending_order)
catalogue.ORDER_ADDRESS.stand_around(modify_pending_order_address)
catalogue.ORDER_PAYMENT.stand_around(modify_pending_order_payment)
catalogue.ORDER_ITEMS.stand_around(modify_pending_order_items)
catalogue.RETURN.stand_around(return_delivered_order_items)
catalogue.EXCHANGE.stand_around(exchange_delivered_order_items)
catalogue.HOME_ADDRESS.stand_around(modify_user_address)
