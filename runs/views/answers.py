"""The form for an answer, made from the schema of its question; what no field can hold is typed as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runs.typed import Misfit
from tools.canonical import Json, NotJson, parse

#: More fields than this are typed as JSON.
MOST_FIELDS = 12
RADIOS = 6  # choices beyond this are offered in a list


class Unreadable(Misfit):
    """What was typed is no value of the kind that the field asks for."""


@dataclass(frozen=True)
class Field:
    """One thing to fill in. `kind`: text, number, integer, boolean, choice or json."""

    name: str
    label: str
    kind: str
    required: bool
    note: str = ""
    choices: tuple[Json, ...] = ()
    given: str = ""

    @property
    def options(self) -> list[tuple[str, str, bool]]:
        """Of each choice: what the form sends, what people read, and whether it was chosen."""
        values: tuple[Json, ...] = (True, False) if self.kind == "boolean" else self.choices
        return [(_sent(value), _read_as(value), self.given == _sent(value)) for value in values]

    @property
    def is_list(self) -> bool:
        """Whether the choices are too many to show side by side."""
        return len(self.choices) > RADIOS


@dataclass(frozen=True)
class AnswerForm:
    """The fields of one answer; `whole` when the answer is the one field itself, not an object of them."""

    fields: list[Field]
    whole: bool

    def read(self) -> Json:
        """The answer that was filled in, as JSON. Raises Misfit with every problem."""
        problems: list[str] = []
        values: dict[str, Json] = {}
        for field in self.fields:
            try:
                if field.given or field.required:
                    values[field.name] = _value(field)
            except Unreadable as error:
                problems += error.problems
        if problems:
            raise Misfit("The answer", problems)
        return values.get("answer") if self.whole else values


def form_for(
    schema: dict[str, Any], given: Mapping[str, Any] | None = None, *, label: str = "Your answer"
) -> AnswerForm:
    """The form that the JSON schema asks for, with what was `given` (a POST) filled in.

    `label` is what a value is called that is one field by itself.
    """
    plain = _resolved(schema, schema)
    if plain.get("type") == "null":
        return AnswerForm([], whole=True)
    properties = plain.get("properties", {}) if plain.get("type") == "object" else {}
    needed = set(plain.get("required", []))
    fields = [
        _field(name, _label(name, part), _resolved(part, schema), name in needed, given)
        for name, part in properties.items()
    ]
    if 0 < len(fields) <= MOST_FIELDS and all(field.kind != "json" for field in fields):
        return AnswerForm(fields, whole=False)
    return AnswerForm([_field("answer", label, plain, not _may_be_empty(plain), given)], whole=True)


def _field(
    name: str, label: str, schema: dict[str, Any], required: bool, given: Mapping[str, Any] | None
) -> Field:
    kind, choices = _kind(schema)
    typed = str((given or {}).get(f"field-{name}", "")).strip() if given is not None else _default(schema)
    return Field(name, label, kind, required, str(schema.get("description", "")), choices, typed)


def _kind(schema: dict[str, Any]) -> tuple[str, tuple[Json, ...]]:
    parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    if len(parts) > 1 and {part.get("type") for part in parts} == {"number", "string"}:
        return "text", ()  # an exact amount: its text is one of its forms
    part = parts[0] if len(parts) == 1 else {}
    if "enum" in part or "const" in part:
        return "choice", tuple(part.get("enum") or [part["const"]])
    if part.get("type") in ("integer", "number", "boolean"):
        return part["type"], ()
    return ("text", ()) if part.get("type") == "string" else ("json", ())


def _may_be_empty(schema: dict[str, Any]) -> bool:
    return any(part.get("type") == "null" for part in schema.get("anyOf", [schema]))


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    return "" if value is None else _sent(value)


def _resolved(part: Any, whole: dict[str, Any]) -> dict[str, Any]:
    """`part` with its references within the schema looked up, one level deep."""
    if not isinstance(part, dict):
        return {}
    found = dict(part)
    if "$ref" in found:
        name = str(found.pop("$ref")).removeprefix("#/$defs/")
        found = {**whole.get("$defs", {}).get(name, {}), **found}
    if "anyOf" in found:
        found["anyOf"] = [_resolved(each, whole) for each in found["anyOf"]]
    return found


def _label(name: str, part: Any) -> str:
    title = part.get("title") if isinstance(part, dict) else ""
    return str(title or name.replace("_", " ").capitalize())


def _value(field: Field) -> Json:
    text = field.given
    if field.kind == "text":
        if not text:
            raise Unreadable(field.label, [f"{field.label}: write an answer"])
        return text
    if field.kind in ("choice", "boolean"):
        for value in (True, False) if field.kind == "boolean" else field.choices:
            if text == _sent(value):
                return value
        raise Unreadable(field.label, [f"{field.label}: choose one"])
    return _parsed(field)


def _parsed(field: Field) -> Json:
    try:
        value = parse(field.given)
    except NotJson as error:
        said = f"write a {'whole ' if field.kind == 'integer' else ''}number"
        raise Unreadable(field.label, [f"{field.label}: {error if field.kind == 'json' else said}"]) from None
    if field.kind != "json" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise Unreadable(field.label, [f"{field.label}: write a number"])
    return value


def _sent(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read_as(value: Json) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
