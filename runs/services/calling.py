"""One tool call, run durably by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runs.models import Run
from runs.services.start import start_run
from tools import registry

#: The name of the workflow that makes one call.
CALL = "holdpoint.call"


def call_tool(
    tool_name: str, arguments: Mapping[str, Any], *, actor: str, intent: str = "", source: str = ""
) -> Run:
    """Have `actor` call the tool `tool_name` with JSON `arguments`, as a run of its own: with intent, key,
    retries and journal, and through the gate like any other call. `intent` is what the reviewer reads as the
    reason.

    Raises tools.registry.UnknownTool and tools.contract.InvalidArguments, and QueueFull; nothing is written
    then.
    """
    tool = registry.get(tool_name)
    asked = {"tool": tool.name, "arguments": tool.validate(arguments), "why": intent}
    return start_run(CALL, asked, actor=actor, intent=intent or tool.title, source=source)
