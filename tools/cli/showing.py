"""``tools show``: one tool with all that is declared about it, or one call with what is on record."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from tools import registry
from tools.cli.answers import Answers, Exit, Verb, no
from tools.cli.described import (
    call_as_json,
    in_lines,
    misfits_as_json,
    misfits_in_words,
    tool_as_json,
    used_by,
)
from tools.cli.protected import breaker_as_json, in_words, limit_in_words
from tools.misfits import of_tools
from tools.models import ToolCall

_CALL = "call_"


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("tool", metavar="TOOL", help="the name of a tool, or the id of a call (call_…)")


def _show(answers: Answers, options: dict[str, Any]) -> None:
    name = options["tool"]
    if name.startswith(_CALL) and name not in {tool.name for tool in registry.all_tools()}:
        _show_call(answers, name)
        return
    tool = registry.get(name)
    breaker, drift = breaker_as_json(tool), misfits_as_json(tool, of_tools(tool.name))
    protection = [("breaker", in_words(breaker)), ("limit", limit_in_words(tool))]
    protection.append(("results", misfits_in_words(drift)))
    schemas = [("takes", _text(tool.input_schema)), ("returns", _text(tool.output_schema))]
    lines = [*in_lines(tool), *protection, *schemas]
    told = {**tool_as_json(tool), **drift, "used_by": used_by(tool)}
    answers.give(told, "\n".join([tool.name, *_in_columns(lines)]))


def _show_call(answers: Answers, call_id: str) -> None:
    call = ToolCall.objects.filter(pk=call_id).first()
    if call is None:
        raise no(Exit.NOT_FOUND, f"There is no tool call {call_id}.")
    told = call_as_json(call)
    known = [
        (label.replace("_", " "), str(value)) for label, value in told.items() if value not in ("", None)
    ]
    answers.give(told, "\n".join([f"{call.id}  {call.tool}  {call.state}", *_in_columns(known[1:])]))


def _in_columns(lines: list[tuple[str, str]]) -> list[str]:
    wide = max(len(label) for label, _ in lines)
    return [f"  {label.ljust(wide)}  {said}" for label, said in lines]


def _text(schema: object) -> str:
    return json.dumps(schema, ensure_ascii=False, sort_keys=True)


VERB = Verb(
    "show", "all that is declared about one tool, or what is on record of one call", _arguments, _show
)
