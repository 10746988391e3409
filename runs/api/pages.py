"""Lists in pages: each page ends in a cursor, which stays right while rows come and go."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from pydantic import BaseModel, Field
from rest_framework.request import Request

from runs.api.problems import Place, Refused

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")


class Listed(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next: str | None = Field(
        default=None, description="The address of the next page; null: this is the last."
    )

    @classmethod
    def model_parametrized_name(cls, params: Any) -> str:
        """Such as ``RunList``: the schema takes no brackets."""
        return f"{params[0].__name__.removesuffix('Out')}List"


def keyset(
    rows: QuerySet[Row], fields: Sequence[str], *, cursor: str, limit: int, descending: bool
) -> tuple[list[Row], str]:
    """The rows after `cursor`, by `fields` that together name one row, and the cursor to go on from.

    An empty cursor begins, and is given back, where there is nothing more. Raises Refused for a bad one.
    """
    if cursor:
        rows = rows.filter(_beyond(fields, _read(rows.model, fields, cursor), "lt" if descending else "gt"))
    ordered = rows.order_by(*(f"-{name}" if descending else name for name in fields))
    found = list(ordered[: limit + 1])
    shown = found[:limit]
    return shown, _write(shown[-1], fields) if len(found) > limit else ""


def next_page(request: Request, **changed: str | int) -> str | None:
    """The address of this list with `changed` in its query; None when a value is empty: no more pages."""
    if not all(changed.values()):
        return None
    given = {name: value for name, value in request.query_params.items() if name not in changed}
    return f"{request.path}?{urlencode({**given, **changed})}"


def _beyond(fields: Sequence[str], values: Sequence[Any], comparison: str) -> Q:
    first, value = fields[0], values[0]
    beyond = Q(**{f"{first}__{comparison}": value})
    if len(fields) == 1:
        return beyond
    # The first half says where an index begins: an OR alone would be read from the first page on.
    return Q(**{f"{first}__{comparison}e": value}) & (
        beyond | Q(**{first: value}) & _beyond(fields[1:], values[1:], comparison)
    )


def _write(row: Model, fields: Sequence[str]) -> str:
    values = [getattr(row, name) for name in fields]
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def _read(model: type[Model], fields: Sequence[str], cursor: str) -> list[Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if not isinstance(values, list) or any(not isinstance(value, str | int) for value in values):
            raise ValueError
        read = [_exact(model, name, value) for name, value in zip(fields, values, strict=True)]
    except (ValueError, TypeError, ValidationError, OverflowError, binascii.Error, RecursionError):
        place = Place(place="cursor", problem="is not one of ours")
        raise Refused(400, "invalid", "Take the cursor from `next` of the page before.", [place]) from None
    return read


def _exact(model: type[Model], name: str, value: str | int) -> Any:
    read = model._meta.get_field(name).to_python(value)  # type: ignore[union-attr]
    if isinstance(read, datetime) and read.utcoffset() is None:
        raise ValueError("a moment without its offset")
    if isinstance(read, str) and "\x00" in read or isinstance(read, int) and abs(read) >= 2**63:
        raise ValueError("no database takes this")
    return read
