"""Reading a data folder: every file is checked whole before anything of it is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from examples.support_desk.records import CustomerRecord, OrderRecord, ProductRecord, Record
from tools.canonical import NotJson
from tools.signature import in_words


class BadData(Exception):
    """A file or folder is missing or not what it should be; the message names it, the fault and the cure."""


@dataclass(frozen=True)
class ShopData:
    """A whole shop as it stands in a folder, by number."""

    customers: dict[str, Record]
    products: dict[str, Record]
    orders: dict[str, Record]


def read_shop(folder: Path) -> ShopData:
    """The shop in `folder`: users.json, products.json, orders.json. Raises BadData."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise BadData(f"The data folder {folder} {what}. Name the folder that holds users.json: --data DIR.")
    data = ShopData(
        customers=_records(folder / "users.json", dict[str, CustomerRecord]),
        products=_records(folder / "products.json", dict[str, ProductRecord]),
        orders=_records(folder / "orders.json", dict[str, OrderRecord]),
    )
    _agree(folder, data)
    return data


def read_text(path: Path) -> str:
    """The text of `path`. Raises BadData when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadData(f"{path} is missing. Give the path of a complete data folder or file.") from None
    except IsADirectoryError:
        raise BadData(f"{path} is a folder, and a file is wanted.") from None
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not text in UTF-8 (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None


def parse(text: str, place: str) -> Any:
    """JSON with exact amounts. `place` names the file, and the line if it is one of many. Raises BadData."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadData(f"{place} is not JSON: {error.msg} at {where}. Mend it or fetch it again.") from None
    except (NotJson, RecursionError) as error:
        raise BadData(f"{place} is not JSON as it should be: {error}. Mend it or fetch it again.") from None


def problems_of(error: ValidationError) -> str:
    """What pydantic found, in one line: the first problem, and how many more there are."""
    found = in_words(error)
    return found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")


def _records(path: Path, shape: Any) -> dict[str, Record]:
    value = parse(read_text(path), str(path))
    try:
        records: dict[str, Record] = TypeAdapter(shape).validate_python(value)
    except ValidationError as error:
        raise BadData(
            f"{path} does not hold what it should: {problems_of(error)}. Mend that record."
        ) from None
    return records


def _agree(folder: Path, data: ShopData) -> None:
    """Raise BadData where one file speaks of a record that another does not have."""
    for number, order in data.orders.items():
        if order["order_id"] != number:
            raise BadData(
                f"{folder / 'orders.json'}: the order under {number} calls itself {order['order_id']}."
            )
        if order["user_id"] not in data.customers:
            raise BadData(
                f"{folder / 'orders.json'}: order {number} is {order['user_id']}'s, who is not in users.json."
            )
    for number, customer in data.customers.items():
        if missing := [order for order in customer["orders"] if order not in data.orders]:
            raise BadData(
                f"{folder / 'users.json'}: {number} has order {missing[0]}, which is not in orders.json."
            )
    for number, product in data.products.items():
        if (own := product["product_id"]) != number:
            raise BadData(f"{folder / 'products.json'}: the product under {number} calls itself {own}.")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotJson(f"the key {twice!r} is there twice")
    return found


def _no_constant(name: str) -> None:
    raise NotJson(f"{name} is not a number that JSON can carry")
