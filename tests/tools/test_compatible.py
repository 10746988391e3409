"""What breaks callers: one table of changes, and what "fits" promises, for any two schemas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tools.compatible import Change, Contract, changes, contract_of
from tools.contract import Money, Tool
from tools.narrowing import misfits

Schema = Any
BASE = Contract(1, "write", "medium", "partial", True, "d", {"type": "string"}, {"type": "string"})


def text(**more: Any) -> Schema:
    return {"type": "string", **more}


def whole(**more: Any) -> Schema:
    return {"type": "integer", **more}


def record(required: str = "", closed: bool = True, **fields: Schema) -> Schema:
    shut = {"additionalProperties": False} if closed else {}
    return {"type": "object", "properties": fields, "required": required.split(), **shut}


def number(**more: Any) -> Schema:
    return {"type": "number", **more}


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def items(of: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": of, **more}


def either(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def tagged(*schemas: Schema) -> Schema:
    return {"oneOf": list(schemas), "discriminator": {"propertyName": "kind"}}


def defined(name: str, schema: Schema, then: Schema) -> Schema:
    return {"$defs": {name: schema}, **then}


ANY: Schema = {"type": "object"}
NULL: Schema = {"type": "null"}
CARD, CASH, LOAN = (record("kind", kind=text(const=kind)) for kind in ("card", "cash", "loan"))
TREE = defined("T", record("", name=text(), below=items(ref("T"))), ref("T"))
LONGER = defined("N", record("", name=text(maxLength=3), below=items(ref("N"))), ref("N"))
TWO_TEXTS = record(a=text(), b=text())
BOTH = "input output"
OPEN = record("", False, b=text())

#: What changes, the schema before and after, and whom that breaks: callers' input, readers of the output.
#: "" is nobody.
TABLE: list[tuple[str, Schema, Schema, str]] = [
    ("nothing", record("a", a=text()), record("a", a=text()), ""),
    ("order of the fields", record("a b", a=text(), b=text()), record("b a", b=text(), a=text()), ""),
    ("a title", text(), text(title="T", description="D", examples=["x"]), ""),
    ("a default", record("", a=text(default="x")), record("", a=text(default="y")), ""),
    ("a field, optional", record(), record(a=text()), ""),
    ("a field, required", record(), record("a", a=text()), "input"),
    ("a field gone", record(a=text()), record(), "input"),
    ("a required field gone", record("a", a=text()), record(), "input output"),
    ("a field of an open object gone", record("", False, a=text(), b=text()), OPEN, "input"),
    ("a field becomes required", record(a=text()), record("a", a=text()), "input"),
    ("a field becomes optional", record("a", a=text()), record(a=text()), "output"),
    ("an open object is closed", record("", False, a=text()), record(a=text()), ""),
    ("a closed object is opened", record(a=text()), record("", False, a=text()), ""),
    ("another type", text(), whole(), "input output"),
    ("whole numbers become numbers", whole(), {"type": "number"}, "output"),
    ("numbers become whole", {"type": "number"}, whole(), "input"),
    ("null is taken too", text(), either(text(), NULL), "output"),
    ("null is taken no more", either(text(), NULL), text(), "input"),
    ("a list of types", {"type": ["string", "null"]}, either(NULL, text()), ""),
    ("a value is added", text(enum=["a"]), text(enum=["a", "b"]), "output"),
    ("a value is gone", text(enum=["a", "b"]), text(enum=["a"]), "input"),
    ("one value, said otherwise", text(enum=["a"]), {"const": "a"}, ""),
    ("any text becomes some", text(), text(enum=["a"]), "input"),
    ("a value that fits the pattern", {"const": "ab"}, text(pattern="^a"), "output"),
    ("a value that does not fit the pattern", {"const": "b"}, text(pattern="^a"), "input output"),
    ("a value of a format", {"const": "2026-01-01"}, text(format="date"), "input output"),
    ("both truths, by name", {"type": "boolean"}, {"enum": [True, False]}, ""),
    ("one truth", {"type": "boolean"}, {"const": True}, "input"),
    ("a shortest length", text(), text(minLength=1), "input"),
    ("a longer one", text(maxLength=5), text(maxLength=9), "output"),
    ("a greater least", whole(minimum=1), whole(minimum=2), "input"),
    ("the same least, said otherwise", whole(minimum=1), whole(exclusiveMinimum=0), ""),
    ("a least that is left out", number(minimum=0), number(exclusiveMinimum=0), "input"),
    ("a smaller greatest", whole(maximum=9), whole(maximum=8.5), "input"),
    ("a greatest", whole(exclusiveMaximum=9), whole(maximum=8), ""),
    ("coarser steps", whole(multipleOf=2), whole(multipleOf=4), "input"),
    ("finer steps", whole(multipleOf=4), whole(multipleOf=2), "output"),
    ("whole steps", whole(), {"type": "integer", "multipleOf": 0.5}, ""),
    ("another pattern", text(pattern="^a"), text(pattern="^b"), "input output"),
    ("a pattern", text(), text(pattern="^a"), "input"),
    ("a format", text(format="date"), text(), "output"),
    ("more items", items(text(), maxItems=2), items(text(), maxItems=3), "output"),
    ("items of another kind", items(text()), items(whole()), "input output"),
    ("no item twice", items(text()), items(text(), uniqueItems=True), "input"),
    (
        "a pair becomes a list",
        {"type": "array", "prefixItems": [text(), text()], "minItems": 2, "maxItems": 2},
        items(text()),
        "output",
    ),
    ("a value by key", {**ANY, "additionalProperties": whole()}, ANY, "output"),
    ("deep inside", record(a=items(record(b=text()))), record(a=items(record(b=whole()))), "input output"),
    ("anything becomes something", True, text(), "input"),
    ("a definition for the same", record(a=text()), defined("A", text(), record(a=ref("A"))), ""),
    ("other words at a definition", TREE, {**TREE, "title": "A tree"}, ""),
    ("a tree of shorter names", TREE, LONGER, "input"),
    ("a kind more", tagged(CARD, CASH), tagged(CARD, CASH, LOAN), "output"),
    ("kinds that cannot be told apart", tagged(CARD, CASH), tagged(CARD, CARD), "input output"),
    (
        "neither alternative",
        TWO_TEXTS,
        either(record(a=whole(), b=whole()), record(a=whole(), b=text())),
        BOTH,
    ),
    ("exactly one", either(CARD, CASH), {"oneOf": [CARD, CASH]}, "input output"),
    ("a keyword that nobody knows", text(), text(sorted=True), "input output"),
    ("a keyword that nobody knows, as it was", text(sorted=True), text(sorted=True, title="T"), ""),
    ("nested rules", {"not": text()}, {"not": whole()}, "input output"),
    ("keys by pattern", {**ANY, "patternProperties": {"^a": text()}}, ANY, "input output"),
    ("a reference to nowhere", {"$ref": "#/$defs/no"}, text(), "input output"),
    ("one that is its own alternative", defined("A", either(ref("A"), text()), ref("A")), text(), ""),
    ("no schema", text(), {"type": "string", "maxLength": "9"}, "input output"),
    ("no schema at all", text(), ["string"], "input output"),
    ("a type that nobody knows", text(), {"type": "text"}, "input output"),
]


@pytest.mark.parametrize(("old", "new", "breaks"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_breaks_whom(old: Schema, new: Schema, breaks: str) -> None:
    was = replace(BASE, input=old, output=old)
    found = {change.kind for change in changes(was, replace(was, input=new, output=new)) if change.breaks}
    assert found == set(breaks.split())


@pytest.mark.parametrize(("old", "new"), [row[1:3] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_schema_that_changed_is_never_passed_over_in_silence(old: Schema, new: Schema) -> None:
    said = changes(replace(BASE, input=old), replace(BASE, input=new))
    same_values = not misfits(old, new) and not misfits(new, old)
    assert said or same_values


@pytest.mark.parametrize(
    ("changed", "kind", "breaks"),
    [
        ({"effect": "irreversible"}, "effect", True),
        ({"effect": "read"}, "effect", True),
        ({"takes_key": False}, "key", True),
        ({"risk": "low"}, "risk", True),
        ({"risk": "high"}, "risk", False),
        ({"reversibility": "full"}, "reversibility", True),
        ({"reversibility": "none"}, "reversibility", False),
        ({"version": 2, "digest": "e"}, "", False),
    ],
)
def test_what_is_declared_beside_the_schemas(changed: dict[str, Any], kind: str, breaks: bool) -> None:
    found = [(change.kind, change.breaks) for change in changes(BASE, replace(BASE, **changed))]
    assert found == ([(kind, breaks)] if kind else [])


@pytest.mark.parametrize(
    ("side", "old", "new", "said"),
    [
        ("input", record(), record("a", a=text()), ("input.a", "must be given now")),
        ("input", record(a=text()), record(), ("input.a", "is not taken any more")),
        ("input", text(enum=["a", "b"]), text(enum=["a"]), ("input", 'does not take "b" any more')),
        ("input", items(text()), items(text(maxLength=2)), ("input[]", "must keep to maxLength 2 now")),
        ("output", record("a", a=text()), record(), ("output.a", "may be missing now")),
        ("output", record(a=text()), record(a=either(text(), NULL)), ("output.a", "may be null now")),
        ("output", text(enum=["a"]), text(), ("output", 'may be something else than "a" now')),
        ("record", record(), record("a", a=text()), ("output.a", "is new: results on record have none")),
    ],
)  # fmt: skip
def test_it_says_where_and_what(side: str, old: Schema, new: Schema, said: tuple[str, str]) -> None:
    field = "input" if side == "input" else "output"
    first = changes(replace(BASE, **{field: old}), replace(BASE, **{field: new}))[0]
    assert (first.kind, first.path) == (side, said[0])
    assert first.said.startswith(said[1])


def test_a_default_that_changed_is_named() -> None:
    was, now = record(a=text(default="x")), record(a=text(default="y"))
    assert changes(replace(BASE, input=was), replace(BASE, input=now)) == [
        Change("words", "input.a", False, "has another default")
    ]


class TestOfDeclaredTools:
    """The same over schemas as annotations make them."""

    def compare(self, old: Callable[..., Any], new: Callable[..., Any]) -> list[tuple[str, str, bool]]:
        before, after = (contract_of(Tool(each, effect="read", name="ask")) for each in (old, new))
        return [(change.kind, change.path, change.breaks) for change in changes(before, after)]

    def test_a_parameter_with_a_default_breaks_nobody(self) -> None:
        def before(a: str) -> str: ...  # type: ignore[empty-body]
        def after(a: str, b: int | None = None) -> str: ...  # type: ignore[empty-body]

        assert self.compare(before, after) == [("input", "input.b", False)]

    def test_one_without_a_default_does(self) -> None:
        def before(a: str) -> str: ...  # type: ignore[empty-body]
        def after(a: str, b: Money) -> str: ...  # type: ignore[empty-body]

        assert self.compare(before, after) == [("input", "input.b", True)]

    def test_a_field_of_a_result(self) -> None:
        class Small(BaseModel):
            a: str

        class Large(Small):
            b: int

        def before() -> list[Small]: ...  # type: ignore[empty-body]
        def after() -> list[Large]: ...  # type: ignore[empty-body]

        before.__annotations__, after.__annotations__ = {"return": list[Small]}, {"return": list[Large]}
        assert [row for row in self.compare(before, after) if row[2]] == []
        assert self.compare(after, before) == [("output", "output[].b", True)]


# What "fits" promises

NAMES = st.sampled_from(["a", "b", "c"])
SCALARS = st.sampled_from([None, True, False, 0, 1, 2, 1.5, -3, "", "a", "ab", "b"])
LEAVES = st.one_of(
    st.sampled_from([True, NULL, {"type": "boolean"}, text(), whole(), {"type": "number"}]),
    st.builds(lambda values: {"enum": values}, st.lists(SCALARS, min_size=1, max_size=3)),
    st.builds(lambda low, high: whole(minimum=low, maximum=high), st.integers(-3, 2), st.integers(-1, 3)),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.sampled_from([0, 1, 1.5])),
    st.builds(lambda high: {"type": ["integer", "null"], "exclusiveMaximum": high}, st.sampled_from([0, 2])),
    st.builds(lambda step: whole(multipleOf=step), st.sampled_from([1, 2, 3])),
    st.builds(lambda low, high: text(minLength=low, maxLength=high), st.integers(0, 2), st.integers(0, 2)),
    st.sampled_from([text(pattern="^a"), text(pattern="b$")]),
)


def _object(fields: dict[str, Schema], required: set[str], rest: Schema) -> Schema:
    shut = {} if rest is None else {"additionalProperties": rest}
    return {"type": "object", "properties": fields, "required": sorted(required & set(fields)), **shut}


def _larger(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    rest = st.one_of(st.none(), st.booleans(), inner)
    return st.one_of(
        st.builds(_object, st.dictionaries(NAMES, inner, max_size=3), st.sets(NAMES), rest),
        st.builds(lambda of, most: items(of, maxItems=most), inner, st.integers(0, 2)),
        st.builds(lambda of: items(of, uniqueItems=True), inner),
        st.builds(lambda first, of: items(of, prefixItems=[first]), inner, inner),
        st.builds(either, inner, inner),
    )


PARTS = st.recursive(LEAVES | st.just(ref("D")), _larger, max_leaves=6)


@st.composite
def documents(draw: Any) -> Schema:
    """A schema whose references lead to a definition, which may refer to itself."""
    within = draw(PARTS)
    definition = draw(st.sampled_from([items(within), record("", False, a=within), record(a=within)]))
    schema = draw(PARTS)
    return schema if schema is True else {**schema, "$defs": {"D": definition}}


SCHEMAS = documents()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)


def changed(schema: Schema, draw: Any) -> Schema:
    """`schema` with one small change somewhere, so that pairs are near each other."""
    if not isinstance(schema, dict) or draw(st.integers(0, 3)) == 0:
        return draw(PARTS)
    word = draw(st.sampled_from(sorted(schema)))
    said = schema[word]
    if word == "properties" and said:
        name = draw(st.sampled_from(sorted(said)))
        return {**schema, word: {**said, name: changed(said[name], draw)}}
    if word in ("items", "additionalProperties"):
        return {**schema, word: changed(said, draw)}
    if word == "anyOf":
        return {**schema, word: [changed(said[0], draw), *said[1:]]}
    if word == "required":
        return {**schema, word: sorted(draw(st.sets(NAMES)) & set(schema["properties"]))}
    if word == "$defs":
        return {**schema, word: {"D": items(draw(PARTS))}}
    if word in ("type", "$ref"):
        return {**schema, "minimum": 1, "maxLength": 1}
    return {name: each for name, each in schema.items() if name != word}


@st.composite
def pairs(draw: Any) -> tuple[Schema, Schema]:
    old = draw(SCHEMAS)
    new = changed(old, draw)
    # Only a whole document brings its definitions along.
    definitions = {"$defs": old["$defs"]} if isinstance(old, dict) else {"$defs": {"D": text()}}
    return old, {**definitions, **new} if isinstance(new, dict) else new


def valid(schema: Schema, value: Any) -> bool:
    return bool(jsonschema_rs.Draft202012Validator(schema).is_valid(value))


def with_rest(schema: Schema, *, closed: bool) -> Schema:
    """Objects that are silent about other fields have none (`closed`); or, as a reader sees it, those that
    forbid or are silent about them may have any.
    """
    if isinstance(schema, list):
        return [with_rest(each, closed=closed) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {
        word: {name: with_rest(each, closed=closed) for name, each in said.items()}
        if word in ("properties", "$defs")
        else said
        if word in ("enum", "required")
        else with_rest(said, closed=closed)
        for word, said in schema.items()
    }
    if "properties" not in inner:
        return inner
    rest = inner.get("additionalProperties")
    if closed and rest is None:
        return {**inner, "additionalProperties": False}
    if not closed and rest in (None, False):
        return {**inner, "additionalProperties": True}
    return inner


@settings(max_examples=150, deadline=None)
@given(pairs(), st.lists(VALUES, min_size=20, max_size=20))
def test_arguments_that_fitted_fit_when_it_is_called_compatible(
    pair: tuple[Schema, Schema], values: list[Any]
) -> None:
    old, new = pair
    if not misfits(old, new):
        named = with_rest(old, closed=True)
        assert [value for value in values if valid(named, value) and not valid(new, value)] == []


@settings(max_examples=150, deadline=None)
@given(pairs(), st.lists(VALUES, min_size=20, max_size=20))
def test_results_that_come_now_are_what_a_reader_of_the_old_contract_counts_on(
    pair: tuple[Schema, Schema], values: list[Any]
) -> None:
    old, new = pair
    if not misfits(new, old, unnamed_pass=True):
        read = with_rest(old, closed=False)
        now = with_rest(new, closed=True)
        assert [value for value in values if valid(now, value) and not valid(read, value)] == []


@settings(max_examples=100, deadline=None)
@given(SCHEMAS)
def test_every_schema_fits_itself(schema: Schema) -> None:
    assert misfits(schema, schema) == []
