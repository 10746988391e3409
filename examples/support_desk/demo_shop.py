"""A small shop of our own for the demo: nobody in it exists."""

from __future__ import annotations

from typing import Any

from examples.support_desk.folder import ShopData
from examples.support_desk.records import Record

_CUP, _LAMP, _CHAIR, _HEADSET = "p-cup", "p-lamp", "p-chair", "p-headset"


def _product(number: str, name: str, **variants: tuple[str, str, bool]) -> Record:
    return {
        "name": name,
        "product_id": number,
        "variants": {
            f"{number}-{item}": {
                "item_id": f"{number}-{item}",
                "options": {"color": color},
                "available": available,
                "price": price,
            }
            for item, (color, price, available) in variants.items()
        },
    }


PRODUCTS = {
    _CUP: _product(_CUP, "Stoneware cup", blue=("blue", "18.40", True), sand=("sand", "18.40", True)),
    _LAMP: _product(_LAMP, "Desk lamp", black=("black", "64.90", True), brass=("brass", "79.00", False)),
    _CHAIR: _product(_CHAIR, "Office chair", grey=("grey", "489.00", True), green=("green", "499.00", True)),
    _HEADSET: _product(_HEADSET, "Headset", black=("black", "129.50", True), white=("white", "129.50", True)),
}


def _address(street: str, city: str, state: str, zip_code: str) -> Record:
    return {
        "address1": street,
        "address2": "",
        "city": city,
        "state": state,
        "country": "USA",
        "zip": zip_code,
    }


def _customer(first: str, last: str, address: Record, methods: list[Record], *orders: str) -> Record:
    return {
        "name": {"first_name": first, "last_name": last},
        "address": address,
        "email": f"{first}.{last}@example.com".lower(),
        "payment_methods": {method["id"]: method for method in methods},
        "orders": list(orders),
    }


def _card(number: str) -> Record:
    return {"id": f"credit_card_{number}", "source": "credit_card", "brand": "visa", "last_four": number}


def _gift_card(number: str, balance: str) -> Record:
    return {"id": f"gift_card_{number}", "source": "gift_card", "balance": balance}


MAYA = _address("12 Harbor Lane", "Portland", "ME", "04101")
TOBIAS = _address("480 Alder Street", "Seattle", "WA", "98104")
IRENE = _address("77 Mill Road", "Austin", "TX", "78701")
NADIR = _address("9 Orchard Court", "Denver", "CO", "80202")
VERA = _address("31 Quarry Street", "Tucson", "AZ", "85701")
LOCKER = _address("Parcel locker 311", "Reno", "NV", "89501")

CUSTOMERS = {
    "maya_lind": _customer(
        "Maya", "Lind", MAYA, [_card("4410"), _gift_card("0007", "15.00")], "#H1001", "#H1002"
    ),
    "tobias_okoro": _customer("Tobias", "Okoro", TOBIAS, [_card("9921")], "#H1003"),
    "irene_castel": _customer("Irene", "Castel", IRENE, [_card("3058")], "#H1004", "#H1005", "#H1006"),
    "nadir_hale": _customer(
        "Nadir", "Hale", NADIR, [_card("7713"), _gift_card("0042", "80.00")], "#H1007", "#H1008"
    ),
    "vera_stone": _customer("Vera", "Stone", VERA, [_card("6204")], "#H1009", "#H1010"),
}


def _item(product: str, variant: str) -> Record:
    chosen = PRODUCTS[product]["variants"][f"{product}-{variant}"]
    return {
        "name": PRODUCTS[product]["name"],
        "product_id": product,
        "item_id": chosen["item_id"],
        "price": chosen["price"],
        "options": chosen["options"],
    }


def _order(
    number: str, customer: str, status: str, method: str, paid: str, items: list[Record], **more: Any
) -> Record:
    shipped = {"tracking_id": [f"TRK{number[2:]}"], "item_ids": [item["item_id"] for item in items]}
    return {
        "order_id": number,
        "user_id": customer,
        "address": more.get("address", CUSTOMERS[customer]["address"]),
        "items": items,
        "fulfillments": [] if status == "pending" else [shipped],
        "status": status,
        "payment_history": [
            {"transaction_type": "payment", "amount": paid, "payment_method_id": method},
            *(
                {"transaction_type": "refund", "amount": back, "payment_method_id": method}
                for back in more.get("refunds", ())
            ),
        ],
    }


_CUPS = [_item(_CUP, "blue"), _item(_CUP, "sand")]
_ORDERS = [
    _order("#H1001", "maya_lind", "delivered", "credit_card_4410", "36.80", _CUPS),
    _order("#H1002", "maya_lind", "pending", "gift_card_0007", "64.90", [_item(_LAMP, "black")]),
    _order(
        "#H1003",
        "tobias_okoro",
        "delivered",
        "credit_card_9921",
        "618.50",
        [_item(_CHAIR, "grey"), _item(_HEADSET, "black")],
    ),
    _order(
        "#H1004",
        "irene_castel",
        "delivered",
        "credit_card_3058",
        "64.90",
        [_item(_LAMP, "black")],
        refunds=["64.90"],
    ),
    _order(
        "#H1005",
        "irene_castel",
        "delivered",
        "credit_card_3058",
        "129.50",
        [_item(_HEADSET, "white")],
        refunds=["129.50"],
    ),
    _order(
        "#H1006",
        "irene_castel",
        "delivered",
        "credit_card_3058",
        "18.40",
        [_item(_CUP, "sand")],
        address=LOCKER,
    ),
    _order(
        "#H1007",
        "nadir_hale",
        "delivered",
        "credit_card_7713",
        "193.40",
        [_item(_LAMP, "black"), _item(_HEADSET, "white")],
    ),
    _order("#H1008", "nadir_hale", "pending", "credit_card_7713", "489.00", [_item(_CHAIR, "grey")]),
    _order(
        "#H1009",
        "vera_stone",
        "delivered",
        "credit_card_6204",
        "988.00",
        [_item(_CHAIR, "grey"), _item(_CHAIR, "green")],
    ),
    _order("#H1010", "vera_stone", "delivered", "credit_card_6204", "64.90", [_item(_LAMP, "black")]),
]

DEMO_SHOP = ShopData(
    customers=CUSTOMERS, products=PRODUCTS, orders={order["order_id"]: order for order in _ORDERS}
)
