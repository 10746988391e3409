"""One JSON Schema, read: where its references lead, its alternatives, and the few values that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

#: A JSON Schema, or true or false.
Schema = Any

#: Said about a value; they allow and forbid nothing.
ANNOTATIONS = frozenset({"title", "description", "default", "examples", "deprecated", "$comment", "$schema"})
_TYPES = ("null", "boolean", "string", "number", "array", "object")
_OF_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_OF_LISTS = {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}
_OF_OBJECTS = {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}
_WORDS: dict[str, set[str]] = {
    "null": set(),
    "boolean": set(),
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": _OF_NUMBERS,
    "integer": _OF_NUMBERS,
    "array": _OF_LISTS,
    "object": _OF_OBJECTS,
}
_ALL_WORDS = frozenset().union(*_WORDS.values())
_ARE_NUMBERS = _OF_NUMBERS | {
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
}
_ARE_LISTS = {"required", "prefixItems", "enum"}
_ARE_SCHEMAS = {"items", "additionalProperties"}


@dataclass(frozen=True)
class Side:
    """A schema at some place of a document, and the document, for its references."""

    schema: Schema
    root: Schema

    def at(self, schema: Schema) -> Side:
        """The same document at another place."""
        return Side(schema, self.root)

    @property
    def definitions(self) -> dict[str, Schema]:
        """What the document's references lead to, by name."""
        found = self.root.get("$defs", {}) if isinstance(self.root, dict) else {}
        return found if isinstance(found, dict) else {}


def resolved(side: Side) -> Side:
    """The schema that a reference leads to, without what only describes it; true, false or an object."""
    schema, seen = side.schema, set()
    while isinstance(schema, dict) and "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        alone = set(schema) - ANNOTATIONS - {"$defs"} == {"$ref"}
        if not alone or name in seen or name not in side.definitions:
            break
        seen.add(name)
        schema = side.definitions[name]
    if isinstance(schema, dict):
        schema = {word: said for word, said in schema.items() if word not in ANNOTATIONS | {"$defs"}}
    elif not isinstance(schema, bool):
        schema = {"no schema": schema}
    return side.at(True if schema == {} else schema)


def branches(side: Side, within: frozenset[str] = frozenset()) -> Iterator[Side]:
    """The alternatives of a schema, each of one type; what cannot be taken apart comes as it is.

    One that is an alternative of itself (`within` are the unions around it) adds nothing.
    """
    schema = resolved(side).schema
    if schema is False or as_text(schema) in within:
        return
    if schema is True:
        schema = {}
    alternatives = _alternatives(side, schema)
    if alternatives is not None:
        for each in alternatives:
            yield from branches(side.at(each), within | {as_text(schema)})
        return
    kinds = schema.get("type", list(_TYPES))
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        said = {word: schema[word] for word in schema if _matters(word, kind)}
        yield side.at({**said, "type": kind})


def _alternatives(side: Side, schema: dict[str, Any]) -> list[Schema] | None:
    """The schemas of a plain union; None where there is none, or not every value that fits one fits it."""
    if set(schema) == {"anyOf"} and isinstance(schema["anyOf"], list):
        return list(schema["anyOf"])
    if set(schema) == {"oneOf", "discriminator"} and _are_apart(side, schema):
        return list(schema["oneOf"])
    return None


def _are_apart(side: Side, schema: dict[str, Any]) -> bool:
    """Whether no value fits two of the alternatives, as each names other values of one field."""
    tag = schema["discriminator"].get("propertyName")
    seen: list[str] = []
    for each in schema["oneOf"]:
        alternative = resolved(side.at(each)).schema
        if alternative is True or alternative is False or tag not in alternative.get("required", ()):
            return False
        named = alternative.get("properties", {}).get(tag)
        values = few_values(named) if isinstance(named, dict) else None
        if values is None:
            return False
        seen += map(as_text, values)
    return len(seen) == len(set(seen))


def _matters(word: str, kind: object) -> bool:
    """Whether a word says something about values of this type; one that is not known may."""
    return word in _WORDS.get(str(kind), ()) or word not in _ALL_WORDS


def strange_words(alternative: Schema) -> set[str]:
    """What stands in an alternative, as `branches` gives it, that nothing is known about."""
    kind = alternative["type"]
    known = _WORDS.get(str(kind))
    if known is None:
        return {f"type {kind}"}
    strange = set(alternative) - known - {"type", "enum", "const"}
    return strange | {word for word, said in alternative.items() if not _is_well_formed(word, said)}


def _is_well_formed(word: str, said: Any) -> bool:
    if word in _ARE_NUMBERS:
        number = isinstance(said, int | float) and not isinstance(said, bool)
        return number and (word != "multipleOf" or said > 0)
    if word in _ARE_LISTS:
        return isinstance(said, list)
    if word in _ARE_SCHEMAS:
        return isinstance(said, dict | bool)
    return word != "properties" or isinstance(said, dict)


def few_values(alternative: dict[str, Any]) -> list[Any] | None:
    """Every value that an alternative may have, where they are few and named."""
    if isinstance(alternative.get("enum"), list):
        return list(alternative["enum"])
    if "const" in alternative:
        return [alternative["const"]]
    few: dict[str, list[Any]] = {"null": [None], "boolean": [False, True]}
    return few.get(str(alternative.get("type")))


def takes(side: Side, value: Any, *, unsure: bool) -> bool:
    """Whether the schema takes this one value, by the validator that calls are checked with; `unsure` is the
    answer where that cannot read the schema.
    """
    try:
        whole = {"$defs": side.definitions, "allOf": [side.schema]}
        return bool(jsonschema_rs.Draft202012Validator(whole).is_valid(value))
    except ValueError:
        return unsure


def item_of(side: Side, index: int) -> Side:
    """What the item at `index` of a list must be."""
    firsts = side.schema.get("prefixItems", ())
    return side.at(firsts[index] if index < len(firsts) else side.schema.get("items", True))


def named_fields_of(side: Side) -> dict[str, Schema]:
    """The fields that an object names."""
    return dict(side.schema.get("properties", {}))


def other_fields_of(side: Side) -> Schema:
    """What an object says of fields that it does not name; one that names some and is silent has no others:
    nobody counts on them.
    """
    return side.schema.get("additionalProperties", "properties" not in side.schema)


def same(one: Side, other: Side) -> bool:
    """Whether both say the same, word for word, definitions included."""
    if as_text(without_annotations(one.schema)) != as_text(without_annotations(other.schema)):
        return False
    if "$ref" not in as_text(one.schema):
        return True
    mine, theirs = without_annotations(one.definitions), without_annotations(other.definitions)
    return as_text(mine) == as_text(theirs)


def without_annotations(schema: Schema) -> Schema:
    """The schema without what only describes it."""
    if isinstance(schema, list):
        return [without_annotations(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for word, said in schema.items():
        if word in ("properties", "$defs", "patternProperties") and isinstance(said, dict):
            kept[word] = {name: without_annotations(each) for name, each in said.items()}
        elif word in ("enum", "const", "required"):
            kept[word] = said
        elif word not in ANNOTATIONS:
            kept[word] = without_annotations(said)
    return kept


def as_text(value: Any) -> str:
    """A schema or a value as text in one order of keys."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
