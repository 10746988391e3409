"""``tools list``: every tool with what decides how it is called."""

from __future__ import annotations

from typing import Any

from tools import registry
from tools.cli.answers import Answers, Verb, no_arguments, table
from tools.cli.described import tool_as_json
from tools.cli.protected import passes
from tools.contract import Tool

_HEADS = ("tool", "version", "effect", "risk", "timeout", "calls", "hooks")


def _list(answers: Answers, options: dict[str, Any]) -> None:
    tools = registry.all_tools()
    lines = table(_HEADS, [_row(tool) for tool in tools]) if tools else "There are no tools."
    answers.give([tool_as_json(tool) for tool in tools], lines)


def _row(tool: Tool) -> tuple[str, ...]:
    plain = tool.name, str(tool.version), str(tool.effect), str(tool.risk), f"{tool.timeout:g} s"
    return *plain, passes(tool), ", ".join(tool.hooks)


VERB = Verb("list", "every tool with its effect, risk and hooks", no_arguments, _list)
