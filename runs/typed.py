"""Values from outside that must fit a type: the schema others see, the form on record, reading it back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import jsonschema
import pydantic

from tools.canonical import Json, compact, in_kept_order, normalise
from tools.signature import adapter_of, in_words


class Misfit(ValueError):
    """A value does not fit the type that was asked for; `problems` lists each place in plain words."""

    def __init__(self, what: str, problems: list[str]) -> None:
        super().__init__(f"{what} does not fit: {'; '.join(problems)}")
        self.problems = problems


class Typed:
    """A type (anything pydantic understands), as the engine uses it."""

    def __init__(self, kind: Any) -> None:
        """Raises TypeError for what pydantic cannot describe."""
        try:
            self._adapter = adapter_of(kind)
            self.schema: dict[str, Any] = self._adapter.json_schema()
        except (pydantic.errors.PydanticUserError, pydantic.errors.PydanticInvalidForJsonSchema) as error:
            raise TypeError(f"{kind!r} is no type for a value from outside: {error}") from None

    def record(self, value: Json, what: str) -> Json:
        """`value` (JSON) as it is put on record: checked, defaults filled in. Raises Misfit about `what`."""
        found = problems(self.schema, value)
        if found:
            raise Misfit(what, found)
        try:
            typed = self._adapter.validate_json(compact(value))
            plain = in_kept_order(normalise(self._adapter.dump_python(typed, mode="json", by_alias=True)))
        except pydantic.ValidationError as error:
            raise Misfit(what, in_words(error)) from None
        except ValueError as error:  # NotJson, and whatever pydantic cannot write
            raise Misfit(what, [str(error)]) from None
        return plain

    def read(self, recorded: Json, what: str) -> Any:
        """A recorded value as the type. Raises Misfit when the type has changed since."""
        try:
            return self._adapter.validate_json(compact(recorded))
        except pydantic.ValidationError as error:
            raise Misfit(what, in_words(error)) from None


def typed(kind: Any) -> Typed:
    """The type, made once for a process where that is possible. Raises TypeError."""
    try:
        return _made(kind)
    except TypeError:  # some types cannot be looked up again, such as those with lists in their annotations
        return Typed(kind)


@lru_cache(maxsize=512)
def _made(kind: Any) -> Typed:
    return Typed(kind)


def problems(schema: dict[str, Any], value: Json) -> list[str]:
    """Where `value` does not fit the JSON schema, in plain words and without the value itself."""
    check = jsonschema.Draft202012Validator(schema, format_checker=_FORMATS)
    found = sorted(check.iter_errors(value), key=lambda error: error.json_path)
    return [f"{_place(error.json_path)} {_words(error)}" for error in found]


_FORMATS = jsonschema.Draft202012Validator.FORMAT_CHECKER
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "yes or no (true or false)",
    "array": "a list",
    "object": "an object",
    "null": "empty",
}


def _place(json_path: str) -> str:
    return json_path.removeprefix("$").lstrip(".") or "the value"


def _words(error: jsonschema.ValidationError) -> str:
    rule, asked = error.validator, cast("Any", error.validator_value)
    match rule:
        case "type":
            kinds = asked if isinstance(asked, list) else [asked]
            return f"should be {' or '.join(_TYPES.get(str(kind), str(kind)) for kind in kinds)}"
        case "enum":
            return f"should be one of: {', '.join(map(str, asked))}"
        case "const":
            return f"should be {asked}"
        case "required":
            return error.message.replace(" is a required property", " is missing")
        case "additionalProperties":
            return "has something that is not known here"
        case "minimum" | "exclusiveMinimum":
            return f"should be {'at least' if rule == 'minimum' else 'more than'} {asked}"
        case "maximum" | "exclusiveMaximum":
            return f"should be {'at most' if rule == 'maximum' else 'less than'} {asked}"
        case "minLength" | "minItems":
            return f"should be at least {asked} long"
        case "maxLength" | "maxItems":
            return f"should be at most {asked} long"
        case "format":
            return f"should be a {asked}"
        case _:
            return f"does not fit its {rule}"
