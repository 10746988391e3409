"""What a change of a tool's contract means to those who call it: by rules of our own, pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tools.canonical import Json
from tools.contract import Tool
from tools.effects import Effect, Reversibility, Risk
from tools.narrowing import Misfit, misfits
from tools.schemas import Schema, as_text, without_annotations


@dataclass(frozen=True)
class Contract:
    """What callers and those who approve rely on, as the lock keeps it."""

    version: int
    effect: str
    risk: str
    reversibility: str
    takes_key: bool
    digest: str
    input: Schema
    output: Schema


@dataclass(frozen=True)
class Change:
    """One difference between two contracts of a tool: where, in a sentence, and whether it breaks callers."""

    kind: str  # effect, key, risk, reversibility, input, output, record, words
    path: str  # such as input.amount, or output.lines[].price
    breaks: bool
    said: str


def contract_of(tool: Tool) -> Contract:
    """The contract that `tool` declares."""
    return Contract(
        version=tool.version,
        effect=tool.effect.value,
        risk=tool.risk.value,
        reversibility=tool.reversibility.value,
        takes_key=tool.takes_key,
        digest=tool.contract_digest,
        input=tool.input_schema,
        output=tool.output_schema,
    )


def changes(old: Contract, new: Contract) -> list[Change]:
    """Every difference between two contracts, those that break callers first.

    Arguments that fitted the old one must fit the new one; results of the new one must be what a reader of
    the old one counts on. What the rules do not know breaks. The versions are not looked at.
    """
    found = [*_of_effect(old, new), *_of_input(old.input, new.input), *_of_output(old.output, new.output)]
    return sorted(dict.fromkeys(found), key=lambda change: not change.breaks)


def _of_effect(old: Contract, new: Contract) -> Iterator[Change]:
    if old.effect != new.effect:
        yield Change("effect", "effect", True, f"is {Effect(new.effect)} and was {Effect(old.effect)}")
    if old.takes_key != new.takes_key:
        said = "the tool takes no idempotency key any more" if old.takes_key else "the tool takes one now"
        yield Change("key", "key", old.takes_key, said)
    for name, words in (("risk", list(Risk)), ("reversibility", list(Reversibility))):
        before, now = words.index(getattr(old, name)), words.index(getattr(new, name))
        if before != now:
            milder = now < before  # fewer people may be asked
            yield Change(name, name, milder, f"is {words[now]} and was {words[before]}")


def _of_input(old: Schema, new: Schema) -> Iterator[Change]:
    breaking = misfits(old, new)
    for misfit in breaking:
        yield Change("input", _path("input", misfit), True, _in_words(misfit, _TAKES))
    if not breaking:
        for misfit in misfits(new, old):
            yield Change("input", _path("input", misfit), False, "takes more than it did")
    yield from _of_words("input", old, new)


def _of_output(old: Schema, new: Schema) -> Iterator[Change]:
    breaking = misfits(new, old, unnamed_pass=True)
    for misfit in breaking:
        yield Change("output", _path("output", misfit), True, _in_words(misfit, _GIVES))
    if not breaking:
        for misfit in misfits(old, new):
            yield Change("record", _path("output", misfit), False, _in_words(misfit, _KEPT))
        for misfit in misfits(new, old):
            yield Change("output", _path("output", misfit), False, "is new")
    yield from _of_words("output", old, new)


def _of_words(where: str, old: Schema, new: Schema) -> Iterator[Change]:
    """What is said about values without changing which ones fit."""
    if as_text(old) == as_text(new) or as_text(without_annotations(old)) != as_text(without_annotations(new)):
        return
    before, now = dict(_defaults(old)), dict(_defaults(new))
    for place in sorted(before.keys() | now.keys()):
        if before.get(place) != now.get(place):
            yield Change("words", f"{where}{place}", False, "has another default")
    if before == now:
        yield Change("words", where, False, "is described in other words")


def _defaults(schema: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(schema, dict):
        if "default" in schema and place:
            yield place, as_text(schema["default"])
        for group in ("properties", "$defs"):
            for name, each in dict(schema.get(group, {})).items():
                yield from _defaults(each, f"{place}.{name}")


#: A misfit of arguments that callers send.
_TAKES = {
    "required": "must be given now",
    "forbidden": "is not taken any more",
    "type": "cannot be {detail} any more",
    "values": "does not take {detail} any more",
    "only": "takes only {detail} now",
    "bounds": "must keep to {detail} now",
    "pattern": "must fit the pattern {detail} now",
    "format": "must be a {detail} now",
    "unknown": "changes in a way that the rules do not know ({detail})",
}
#: A misfit of results that callers read.
_GIVES = {
    "required": "may be missing now",
    "forbidden": "may be there now",
    "type": "may be {detail} now",
    "values": "may be {detail} now",
    "only": "may be something else than {detail} now",
    "bounds": "does not keep to {detail} any more",
    "pattern": "need not fit the pattern {detail} any more",
    "format": "need not be a {detail} any more",
    "unknown": "changes in a way that the rules do not know ({detail})",
}
#: A misfit of results that are on record: runs under way read them again.
_KEPT = {
    "required": "is new: results on record have none, so it needs a default while runs that hold one go on",
}
_NARROWER = "is narrower: results on record may not fit, and runs that hold one cannot go on"


def _in_words(misfit: Misfit, words: dict[str, str]) -> str:
    return words.get(misfit.rule, _NARROWER).format(detail=misfit.detail)


def _path(where: str, misfit: Misfit) -> str:
    return where + "".join(part if part.startswith("[") else f".{part}" for part in misfit.path)


def as_json(contract: Contract) -> dict[str, Json]:
    """The contract as the lock keeps it."""
    return dict(vars(contract))
