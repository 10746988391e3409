"""From a plain typed function to a contract: input model, output adapter, and plain words for refusals."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import pydantic
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from tools.preview import label_of
from tools.values import IdempotencyKey

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class ContractError(TypeError):
    """A tool is declared in a way that cannot work; the message says what to change."""


@dataclass(frozen=True)
class Shape:
    """What a function takes and gives, read once when the tool is declared."""

    signature: inspect.Signature  # without the key
    model: type[BaseModel]
    fields: Mapping[
        str, str
    ]  # parameter -> attribute of the model: a parameter may be called "json" or "copy"
    output: TypeAdapter[Any]
    key_parameter: str | None
    gives_nothing: bool


def shape_of(function: Callable[..., Any], name: str) -> Shape:
    """Read `function`'s signature. Raises ContractError for anything a contract cannot be made of."""
    _refuse_kinds(function, name)
    signature = inspect.signature(function)
    hints = _hints_of(function, name)
    if "return" not in hints:
        raise ContractError(
            f"{name} does not say what it returns; annotate it, -> None if it returns nothing"
        )
    keys = [parameter for parameter in signature.parameters if hints.get(parameter) is IdempotencyKey]
    for parameter in signature.parameters.values():
        _refuse_parameter(parameter, hints, keys, name)
    given = [parameter for parameter in signature.parameters.values() if parameter.name not in keys]
    fields = {parameter.name: f"argument_{position}" for position, parameter in enumerate(given)}
    try:
        model = _input_model(name, given, fields, hints)
        output = adapter_of(hints["return"])
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise ContractError(f"{name}: {error.message.partition(chr(10))[0]}") from None
    _refuse_defaults(model, fields, name)
    return Shape(
        signature=signature.replace(parameters=given),
        model=model,
        fields=fields,
        output=output,
        key_parameter=keys[0] if keys else None,
        gives_nothing=hints["return"] is type(None),
    )


def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """The adapter of a type, which writes what is no number as such: for the normaliser to refuse, where
    pydantic would quietly write nothing. Raises what pydantic raises.
    """
    try:
        return TypeAdapter(kind, config=_KEEP_NAN)
    except PydanticUserError:
        return TypeAdapter(kind)  # a model has a configuration of its own


_KEEP_NAN = ConfigDict(ser_json_inf_nan="constants")


def schema_of_input(shape: Shape, name: str) -> dict[str, Any]:
    """The JSON Schema of the arguments, as a caller must give them."""
    return _ordered(shape.model.model_json_schema(by_alias=True, mode="validation"), name, "an argument")


def schema_of_output(shape: Shape, name: str) -> dict[str, Any]:
    """The JSON Schema of the result, as it is recorded."""
    return _ordered(shape.output.json_schema(by_alias=True, mode="serialization"), name, "the result")


def in_words(error: pydantic.ValidationError) -> list[str]:
    """Every problem that pydantic found, one plain sentence each, without the values themselves."""
    return [
        _problem(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors(include_url=False)
    ]


def _problem(location: tuple[int | str, ...], kind: str, message: str) -> str:
    place = ".".join(str(part) for part in location) or "the value"
    words = plain(kind, message)
    return f"{place} {words}" if kind in ("missing", "extra_forbidden") else f"{place}: {words}"


_PLAIN = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "list_type": "should be a list",
    "dict_type": "should be an object",
    "model_type": "should be an object",
    "model_attributes_type": "should be an object",
}


def plain(kind: str, message: str) -> str:
    """What pydantic found wrong, to be read after the name of the place, such as ``is missing``."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "string_pattern_mismatch" and message.endswith(r"'\S'"):
        return "should not be blank"
    for prefix in ("Input ", "String ", "List ", "Dictionary ", "Value error, ", "Assertion failed, "):
        message = message.removeprefix(prefix)
    return f"{message[:1].lower()}{message[1:]}".partition(" after validation")[0]


def _refuse_kinds(function: Callable[..., Any], name: str) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ContractError(
            f"{name} is async; tools run on the thread of their turn, which the engine can time and fence. "
            "Write it as a plain function, with the synchronous client of its library"
        )
    if inspect.isgeneratorfunction(function):
        raise ContractError(f"{name} yields; return one value, such as a list")


def _hints_of(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ContractError(
            f"{name}: {error}; annotations must name things of the module's own level"
        ) from None


def _refuse_parameter(
    parameter: inspect.Parameter, hints: Mapping[str, Any], keys: list[str], name: str
) -> None:
    if parameter.kind not in _NAMED:
        raise ContractError(f"{name}: {parameter} cannot be in a contract; give every argument its own name")
    if parameter.name not in hints:
        raise ContractError(f"{name}: {parameter.name} has no type; annotate it")
    if parameter.name in keys and (parameter.kind is not inspect.Parameter.KEYWORD_ONLY or len(keys) > 1):
        raise ContractError(
            f"{name}: the key is given by the engine; declare it once, after a *, as key: IdempotencyKey"
        )


def _input_model(
    name: str, given: list[inspect.Parameter], fields: Mapping[str, str], hints: Mapping[str, Any]
) -> type[BaseModel]:
    definitions: dict[str, Any] = {}
    for parameter in given:
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        described = Field(alias=parameter.name, title=label_of(parameter.name).capitalize())
        definitions[fields[parameter.name]] = (Annotated[hints[parameter.name], described], default)
    # Defaults are validated too: a wrong one would otherwise be proposed unseen.
    config = ConfigDict(
        extra="forbid", allow_inf_nan=False, validate_default=True, arbitrary_types_allowed=False
    )
    return pydantic.create_model(name, __config__=config, **definitions)


def _refuse_defaults(model: type[BaseModel], fields: Mapping[str, str], name: str) -> None:
    names = {field: parameter for parameter, field in fields.items()}
    try:
        model.model_validate({})
    except pydantic.ValidationError as error:
        wrong = [names[str(detail["loc"][0])] for detail in error.errors() if detail["type"] != "missing"]
        if wrong:
            raise ContractError(f"{name}: the default of {', '.join(wrong)} does not fit its type") from None


def _ordered(schema: dict[str, Any], name: str, what: str) -> dict[str, Any]:
    if _has_set(schema):
        raise ContractError(f"{name}: {what} is a set, which has no order to record; use a list")
    return schema


def _has_set(schema: object) -> bool:
    if isinstance(schema, dict):
        return schema.get("uniqueItems") is True or any(map(_has_set, schema.values()))
    return isinstance(schema, list) and any(map(_has_set, schema))
