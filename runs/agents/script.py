"""The words in which a script plays an agent's model: what it has seen, and what it may answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.contract import Tool


@dataclass(frozen=True)
class ToolResult:
    """What came of one tool call.

    `outcome` is success, failed (also: refused by the tool's rules), denied (by a reviewer or a policy) or
    retried (the arguments were wrong); unless it is success, `content` is the text that tells why.
    """

    tool: str
    arguments: Mapping[str, Any]
    outcome: str
    content: Any


@dataclass(frozen=True)
class Conversation:
    """What the model knows when it is asked: the input, and all that happened since.

    `turn` counts the requests from 1. `results` are all tool results so far, oldest first; `corrections` say
    why earlier answers were not accepted. `feedback` is what a reviewer said to an earlier draft, else None.
    """

    input: Any
    turn: int
    deps: Any = None
    feedback: str | None = None
    results: Sequence[ToolResult] = ()
    corrections: Sequence[str] = ()
    tools: Sequence[str] = ()

    def results_of(self, tool: Tool | str) -> list[ToolResult]:
        """The results of one tool, oldest first."""
        name = name_of(tool)
        return [result for result in self.results if result.tool == name]


@dataclass(frozen=True)
class Say:
    """Answer in words. For an agent whose output is str this is its answer."""

    text: str


@dataclass(frozen=True)
class CallTool:
    """Call a tool; a list of these calls several at once. `why` is said with it and shown to the reviewer."""

    tool: Tool | str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Finish:
    """Give the final output: an instance of the agent's output model, or its JSON."""

    output: Any


Answer = Say | CallTool | Sequence[CallTool] | Finish


def name_of(tool: Tool | str) -> str:
    """The name under which a model calls the tool."""
    return tool if isinstance(tool, str) else tool.name
