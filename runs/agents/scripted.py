"""A model played by the agent's own script: no network, no cost, and never presented as anything else."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from runs.agent import AgentDefinition
from runs.agents.script import Answer, CallTool, Conversation, Finish, Say, ToolResult, name_of
from tools.canonical import normalise

# What this run of the agent was asked; its script finds it here, because the model is shared by all runs.
asked: ContextVar[Conversation] = ContextVar("asked")


class BadScript(Exception):
    """A script answered with something that is not an answer."""


def scripted_model(definition: AgentDefinition, identifier: str) -> FunctionModel:
    """The model that plays `definition.script`."""
    script = definition.script
    if script is None:
        raise BadScript(f"Agent {definition.name} has no script to play.")

    def play(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        conversation = _so_far(messages, info)
        parts = _parts(script(conversation), conversation.turn, info, definition.name)
        # Something must stand in the usage, or the tokens of a model that has none would be estimated.
        return ModelResponse(parts=parts, usage=RequestUsage(details={"scripted": 1}))

    return FunctionModel(play, model_name=identifier)


def _so_far(messages: list[ModelMessage], info: AgentInfo) -> Conversation:
    outputs = {tool.name for tool in info.output_tools}
    calls: dict[str, ToolCallPart] = {}
    results: list[ToolResult] = []
    corrections: list[str] = []
    turn = 1
    for message in messages:
        if isinstance(message, ModelResponse):
            turn += 1
            calls = {part.tool_call_id: part for part in message.tool_calls}
            continue
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, UserPromptPart | SystemPromptPart):
                # After the first answer nobody speaks but pydantic-ai, about an answer it could not use.
                corrections.extend([str(part.content)] * (turn > 1))
            elif isinstance(part, ToolReturnPart) and part.tool_name in outputs:
                if part.outcome == "retried":
                    corrections.append(part.model_response_str())
            elif isinstance(part, ToolReturnPart):
                call = calls.get(part.tool_call_id)
                arguments = call.args_as_dict() if call else {}
                results.append(ToolResult(part.tool_name, arguments, part.outcome, part.content))
    start = asked.get()
    return Conversation(
        input=start.input,
        turn=turn,
        deps=start.deps,
        feedback=start.feedback,
        results=results,
        corrections=corrections,
        tools=[tool.name for tool in info.function_tools],
    )


def _parts(answer: Answer, turn: int, info: AgentInfo, agent: str) -> list[TextPart | ToolCallPart]:
    if isinstance(answer, Say):
        return [TextPart(answer.text)]
    if isinstance(answer, Finish):
        return [_finish(answer.output, turn, info)]
    calls = [answer] if isinstance(answer, CallTool) else answer
    if not isinstance(calls, Sequence) or not calls or not all(isinstance(call, CallTool) for call in calls):
        raise BadScript(f"The script of agent {agent} answered {answer!r}, not Say, CallTool(s) or Finish.")
    why = "\n".join(call.why for call in calls if call.why)
    # Ids from the position alone: the same answer has the same ids whenever it is given.
    return [TextPart(why)] * bool(why) + [
        ToolCallPart(name_of(call.tool), normalise(dict(call.arguments)), tool_call_id=f"call-{turn}-{index}")
        for index, call in enumerate(calls, 1)
    ]


def _finish(output: Any, turn: int, info: AgentInfo) -> TextPart | ToolCallPart:
    if not info.output_tools:
        return TextPart(str(output))
    tool = _output_tool(output, info.output_tools)
    value = normalise(output)
    arguments = {tool.outer_typed_dict_key: value} if tool.outer_typed_dict_key else value
    return ToolCallPart(tool.name, arguments, tool_call_id=f"output-{turn}")


def _output_tool(output: Any, tools: list[ToolDefinition]) -> ToolDefinition:
    """An agent with several output models has a tool for each, named after the model."""
    ending = f"_{type(output).__name__}"
    return next((tool for tool in tools if tool.name.endswith(ending)), tools[0])
