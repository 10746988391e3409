"""Whether every value of one JSON Schema is one of another: what a contract's callers ask after a change.

Closed by default: what these rules do not know does not fit, unless both say the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tools.schemas import (
    Schema,
    Side,
    as_text,
    branches,
    few_values,
    item_of,
    named_fields_of,
    other_fields_of,
    resolved,
    same,
    strange_words,
    takes,
)

MOST_LEVELS = 64
_FLOORS = ("minLength", "minItems", "minProperties")
_CEILINGS = ("maxLength", "maxItems", "maxProperties")
Path = tuple[str, ...]


@dataclass(frozen=True)
class Misfit:
    """Where a value of the one need not be one of the other, by which rule, and what about it.

    `rule` is one of required, forbidden, type, values, only, bounds, pattern, format, unknown.
    """

    path: Path
    rule: str
    detail: str = ""


def misfits(values_of: Schema, allowed_by: Schema, *, unnamed_pass: bool = False) -> list[Misfit]:
    """Where a value that fits `values_of` need not fit `allowed_by`; empty when every one does.

    Fields that an object of `values_of` does not speak of are no part of its contract. With `unnamed_pass`
    fields that `allowed_by` does not name are passed over, as a reader does. What cannot be judged is a
    misfit: it is never wrong about a fit.
    """
    found = _Comparison(unnamed_pass).compare(Side(values_of, values_of), Side(allowed_by, allowed_by), ())
    return list(dict.fromkeys(found))


class _Comparison:
    """One comparison; what it has begun to compare is taken to fit, so that recursion ends."""

    def __init__(self, unnamed_pass: bool) -> None:
        self.unnamed_pass = unnamed_pass
        self._begun: set[tuple[str, str]] = set()

    def compare(self, one: Side, other: Side, path: Path) -> Iterator[Misfit]:
        one, other = resolved(one), resolved(other)
        begun = (as_text(one.schema), as_text(other.schema))
        if one.schema is False or other.schema is True or begun in self._begun:
            return
        if len(path) > MOST_LEVELS:
            yield Misfit(path, "unknown", "more levels than are gone through")
            return
        self._begun.add(begun)
        allowed = list(branches(other))
        for branch in branches(one):
            yield from self._branch(branch, allowed, path)

    def _branch(self, one: Side, allowed: list[Side], path: Path) -> Iterator[Misfit]:
        """One alternative of the values, among the alternatives that are allowed."""
        if not allowed:
            yield Misfit(path, "forbidden")
            return
        values = few_values(one.schema)
        if values is not None:
            there = [value for value in values if takes(one, value, unsure=True)]
            refused = [
                value for value in there if not any(_surely_takes(one, each, value) for each in allowed)
            ]
            if refused:
                yield Misfit(path, "values", ", ".join(map(as_text, refused)))
            return
        tried = [self._attempt(one, each, path) for each in allowed]
        if all(tried):
            yield from _nearest(one, allowed, tried, path)

    def _attempt(self, one: Side, other: Side, path: Path) -> list[Misfit]:
        # What is taken to fit in an alternative that fails in the end must not count for the next.
        begun = set(self._begun)
        found = list(self._typed(one, other, path))
        if found:
            self._begun = begun
        return found

    def _typed(self, one: Side, other: Side, path: Path) -> Iterator[Misfit]:
        """Two alternatives, of one type each."""
        if same(one, other):
            return
        kind, wanted = one.schema["type"], other.schema["type"]
        strange = strange_words(one.schema) | strange_words(other.schema)
        if wanted != kind and not (kind == "integer" and wanted == "number"):
            yield Misfit(path, "type", str(kind))
        elif strange:
            yield Misfit(path, "unknown", ", ".join(sorted(strange)))
        elif "enum" in other.schema or "const" in other.schema:
            yield Misfit(path, "only", ", ".join(map(as_text, few_values(other.schema) or ())))
        else:
            yield from _outside(one.schema, other.schema, path)
            if kind == "array":
                yield from self._items(one, other, path)
            elif kind == "object":
                yield from self._fields(one, other, path)

    def _items(self, one: Side, other: Side, path: Path) -> Iterator[Misfit]:
        here, there = one.schema, other.schema
        if there.get("uniqueItems") and not here.get("uniqueItems"):
            yield Misfit(path, "bounds", "uniqueItems")
        firsts = max(len(here.get("prefixItems", ())), len(there.get("prefixItems", ())))
        most = here.get("maxItems", math.inf)
        for index in range(int(min(firsts, most))):
            yield from self.compare(item_of(one, index), item_of(other, index), (*path, f"[{index}]"))
        if most > firsts:
            yield from self.compare(item_of(one, firsts), item_of(other, firsts), (*path, "[]"))

    def _fields(self, one: Side, other: Side, path: Path) -> Iterator[Misfit]:
        here, there = named_fields_of(one), named_fields_of(other)
        unsure = set(other.schema.get("required", ())) - set(one.schema.get("required", ()))
        for name in sorted(unsure):
            yield Misfit((*path, name), "required")
        mine, theirs = other_fields_of(one), self._passed_over(other)
        for name in sorted({*here, *there}):
            pair = one.at(here.get(name, mine)), other.at(there.get(name, theirs))
            yield from self.compare(*pair, (*path, name))
        yield from self.compare(one.at(mine), other.at(theirs), (*path, "*"))

    def _passed_over(self, other: Side) -> Schema:
        rest = other_fields_of(other)
        return True if self.unnamed_pass and rest is False else rest


def _surely_takes(one: Side, other: Side, value: Any) -> bool:
    """Whether the alternative takes the value, and the validator alone decides that."""
    if same(one, other):
        return True
    judged = not isinstance(value, dict | list) and "format" not in other.schema
    return judged and not strange_words(other.schema) and takes(other, value, unsure=False)


def _outside(here: dict[str, Any], there: dict[str, Any], path: Path) -> Iterator[Misfit]:
    """Bounds and patterns of `there` that `here` does not keep."""
    for floor in _FLOORS:
        if here.get(floor, 0) < there.get(floor, 0):
            yield Misfit(path, "bounds", f"{floor} {there[floor]}")
    for ceiling in _CEILINGS:
        if here.get(ceiling, math.inf) > there.get(ceiling, math.inf):
            yield Misfit(path, "bounds", f"{ceiling} {there[ceiling]}")
    for word in ("pattern", "format"):
        if word in there and here.get(word) != there[word]:
            yield Misfit(path, word, str(there[word]))
    if here["type"] in ("integer", "number"):
        yield from _beyond(here, there, path)


def _beyond(here: dict[str, Any], there: dict[str, Any], path: Path) -> Iterator[Misfit]:
    """Numbers below the least or above the greatest that `there` takes, or between its steps."""
    whole = here["type"] == "integer"
    if _least(here, whole) < _least(there, whole):
        yield Misfit(path, "bounds", _named_bound(there, "minimum", "exclusiveMinimum"))
    if _least(_mirrored(here), whole) < _least(_mirrored(there), whole):
        yield Misfit(path, "bounds", _named_bound(there, "maximum", "exclusiveMaximum"))
    step, wanted = here.get("multipleOf", 1 if whole else None), there.get("multipleOf")
    if wanted is not None and (step is None or Decimal(str(step)) % Decimal(str(wanted))):
        yield Misfit(path, "bounds", f"multipleOf {wanted}")


def _least(schema: dict[str, Any], whole: bool) -> tuple[float, bool]:
    """The lower bound, and whether the bound itself is left out."""
    bound = max((schema.get("minimum", -math.inf), False), (schema.get("exclusiveMinimum", -math.inf), True))
    if not whole or math.isinf(bound[0]):
        return bound
    number, left_out = bound
    return (math.floor(number) + 1 if left_out else math.ceil(number)), False


def _mirrored(schema: dict[str, Any]) -> dict[str, Any]:
    turned = {"minimum": "maximum", "exclusiveMinimum": "exclusiveMaximum"}
    return {lower: -schema[upper] for lower, upper in turned.items() if upper in schema}


def _named_bound(schema: dict[str, Any], *words: str) -> str:
    return ", ".join(f"{word} {schema[word]}" for word in words if word in schema)


def _nearest(one: Side, allowed: list[Side], tried: list[list[Misfit]], path: Path) -> Iterator[Misfit]:
    """What to tell of an alternative that fits nowhere: what keeps it out of the one of its own type."""
    kind = one.schema["type"]
    kinds = ("integer", "number") if kind == "integer" else (kind,)
    akin = [found for each, found in zip(allowed, tried, strict=True) if each.schema["type"] in kinds]
    if len(akin) == 1:
        yield from akin[0]
    else:
        yield Misfit(path, "type", str(kind))
