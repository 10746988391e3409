"""``tools list``: every tool with what decides how it is called."""

from __future__ import annotations

from typing import Any

from tools import registry
from tools.cli.answers import Answers, Verb, no_arguments, table
from tools.cli.described import misfits_as_json, tool_as_json
from tools.cli.protected import passes
from tools.contract import Tool
from tools.misfits import Counted, of_tools

_HEADS = ("tool", "version", "effect", "risk", "timeout", "calls", "hooks", "misfits")


def _list(answers: Answers, options: dict[str, Any]) -> None:
    tools, counted = registry.all_tools(), of_tools()
    lines = table(_HEADS, [_row(tool, counted) for tool in tools]) if tools else "There are no tools."
    answers.give([{**tool_as_json(tool), **misfits_as_json(tool, counted)} for tool in tools], lines)


def _row(tool: Tool, counted: Counted) -> tuple[str, ...]:
    found = counted.get((tool.name, tool.contract_digest))
    plain = (tool.name, tool.version, tool.effect, tool.risk, f"{tool.timeout:g} s", passes(tool))
    return *map(str, plain), ", ".join(tool.hooks), str(found.count) if found else ""


VERB = Verb("list", "every tool with its effect, risk, hooks and misfits", no_arguments, _list)
