"""One agent at work in one turn: where its steps stand, and what its requests have cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    SystemPromptPart,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_core import to_jsonable_python

from runs.agent import AgentDefinition
from runs.agents.loop import Pump
from runs.agents.port import JSON, NOTHING, TurnPort, Usage
from tools.canonical import NotJson, digest, normalise
from tools.contract import InvalidArguments, Tool


@dataclass
class Work:
    """What the parts of one running agent share. `path` is the agent's own; its steps stand below it."""

    port: TurnPort
    path: str
    definition: AgentDefinition
    model: str
    pump: Pump
    bound: Mapping[str, JSON] = field(default_factory=dict)  # arguments that the workflow fixes
    usage: Usage = NOTHING
    _met: Counter[str] = field(default_factory=Counter)

    def next_path(self, name: str) -> str:
        """The path of the next operation of this name, such as `…/model:3`; their order is fixed."""
        self._met[name] += 1
        return f"{self.path}/{name}:{self._met[name]}"

    def fixed_for(self, tool: Tool) -> dict[str, JSON]:
        """The arguments of `tool` that are not the model's to choose."""
        taken = tool.input_schema.get("properties", {})
        return {name: value for name, value in self.bound.items() if name in taken}

    def complete(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, JSON]:
        """What the model gave, with what the workflow fixes, checked against the contract.

        Raises InvalidArguments, also when the model gave a fixed argument another value.
        """
        fixed = self.fixed_for(tool)
        if strange := [name for name in fixed if name in arguments and arguments[name] != fixed[name]]:
            raise InvalidArguments(tool.name, [f"{name} is not known here" for name in strange])
        return tool.validate({**arguments, **fixed})

    def add(self, usage: Usage | None) -> None:
        """Count what a request cost, now or when it was first made."""
        if usage is not None:
            self.usage += usage


@dataclass(frozen=True)
class Place:
    """Where a tool call stands: in which answer of the model, at which position, with what said beside it."""

    turn: int
    position: int
    why: str

    def below(self, path: str) -> str:
        """The path of the tool step; from positions alone, since providers use the same ids again."""
        return f"{path}/tool:{self.turn}.{self.position}"


def place_of(tool_call_id: str | None, messages: Sequence[ModelMessage]) -> Place:
    """Where the call with this id stands, looking from the newest answer back."""
    answers = [message for message in messages if isinstance(message, ModelResponse)]
    for turn in range(len(answers), 0, -1):
        ids = [call.tool_call_id for call in answers[turn - 1].tool_calls]
        if tool_call_id in ids:
            return Place(turn, ids.index(tool_call_id) + 1, said(answers[turn - 1]))
    raise LookupError(f"no answer of the model contains the tool call {tool_call_id!r}")


def said(answer: ModelResponse) -> str:
    """What the model said in words beside its tool calls."""
    return "\n".join(part.content for part in answer.parts if isinstance(part, TextPart)).strip()


def last_message(messages: Sequence[ModelMessage]) -> JSON:
    """The newest message as JSON: what was said, without times, ids and instructions, which may change."""
    message = messages[-1] if messages else None
    if isinstance(message, ModelResponse):
        return [{"kind": "answer", "content": said(message)}]
    return [_heard(part) for part in message.parts] if isinstance(message, ModelRequest) else []


def _heard(part: Any) -> JSON:
    if isinstance(part, ToolReturnPart):
        content = to_jsonable_python(part.content, fallback=repr)
        return {"kind": "result", "tool": part.tool_name, "outcome": part.outcome, "content": content}
    if isinstance(part, RetryFeedbackPart):
        return {"kind": "correction", "content": part.model_response()}
    if isinstance(part, UserPromptPart | SystemPromptPart):
        return {"kind": "prompt", "content": to_jsonable_python(part.content, fallback=repr)}
    return {"kind": str(getattr(part, "part_kind", type(part).__name__))}


def fingerprint(value: JSON) -> str:
    """A digest of the value, also of one that is too large or too odd to be kept."""
    try:
        return digest(normalise(value))
    except NotJson:
        return digest(json.dumps(value, sort_keys=True, default=repr))


def keepable(value: JSON) -> JSON:
    """The value as it can be recorded; of one that cannot, only its digest."""
    try:
        return normalise(value)
    except NotJson as error:
        return {"not_kept": str(error), "digest": fingerprint(value)}
