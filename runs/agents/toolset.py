"""Holdpoint's tools as a model sees them: reads and drafts are made, everything else is proposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.capabilities.abstract import WrapToolExecuteHandler
from pydantic_ai.exceptions import ModelRetry
from pydantic_ai.exceptions import ToolFailed as TellModel
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import (
    DeferredToolRequests,
    DeferredToolResults,
    RunContext,
    ToolApproved,
    ToolDefinition,
    ToolDenied,
)
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool

from runs.agents.loop import Escaped
from runs.agents.port import JSON, Approved, Decision, Denied, Held, ToolFailed
from runs.agents.work import Place, Work, fingerprint, keepable, place_of
from runs.gate import Next, Rejected
from runs.stops import Suspend
from tools.canonical import NotJson, parse
from tools.contract import InvalidArguments, Tool
from tools.failures import InvalidData, Refused, StaleData

EDITED = "edited_by_reviewer"


@dataclass(frozen=True)
class Proposal:
    """One call that the model wants made."""

    path: str
    tool: Tool
    arguments: dict[str, Any]
    why: str


@dataclass(frozen=True)
class _Told:
    """What the model hears instead of a result."""

    text: str
    outcome: Literal["failed", "denied", "retry"]


class AgentTools(AbstractToolset[Any]):
    """The agent's tools; every call is one tool step of the run."""

    def __init__(self, work: Work) -> None:
        self._work = work

    @property
    def id(self) -> str:
        """One name for all: an agent has exactly one of these."""
        return "holdpoint"

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """The tools by name."""
        corrections = self._work.definition.limits.corrections
        return {
            tool.name: ToolsetTool(
                toolset=self,
                tool_def=_definition_for_model(tool, self._work.fixed_for(tool)),
                max_retries=corrections,
                args_validator=_Arguments(self._work, tool),
            )
            for tool in self._work.definition.tools
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Make the call on the turn's thread and tell the model what came of it."""
        place = place_of(ctx.tool_call_id, ctx.messages)
        proposal = propose(self._work, place, name, tool_args)
        result = await self._work.pump.call(_make, self._work, proposal)
        if isinstance(result, _Told):
            return _tell(result)
        edited = isinstance(ctx.tool_call_metadata, dict) and EDITED in ctx.tool_call_metadata
        return {EDITED: tool_args, "result": result} if edited else result


def _definition_for_model(tool: Tool, fixed: Mapping[str, JSON]) -> ToolDefinition:
    schema = dict(tool.input_schema)
    if fixed:
        given = {name: part for name, part in schema["properties"].items() if name not in fixed}
        needed = [name for name in schema.get("required", ()) if name not in fixed]
        schema |= {"properties": given, "required": needed}
    return ToolDefinition(
        name=tool.name,
        description=tool.description or tool.title,
        parameters_json_schema=schema,
        kind="unapproved" if tool.effect.changes_the_world else "function",
    )


def propose(work: Work, place: Place, name: str, arguments: dict[str, Any]) -> Proposal:
    """The proposal that stands at this place. `arguments` have passed the tool's contract."""
    tool = next(item for item in work.definition.tools if item.name == name)
    return Proposal(place.below(work.path), tool, arguments, place.why)


def _make(work: Work, proposal: Proposal) -> JSON | _Told:
    """On the turn's thread. A reviewer's 'stop' reaches the workflow; the rest the model may work around."""
    try:
        return work.port.call_tool(
            proposal.path, proposal.tool, proposal.arguments, proposal.why, work.definition
        )
    except InvalidArguments as error:
        return _Told(str(error), "retry")
    except (Refused, InvalidData, StaleData, ToolFailed, Rejected) as error:
        return _told(error)


def _told(error: Exception) -> _Told:
    if isinstance(error, Rejected):
        if error.next is Next.STOP:
            raise error
        return _Told(f"Not approved: {error.reason}", "denied")
    if isinstance(error, Refused):
        return _Told(f"Refused: {error.reason}", "failed")
    return _Told(f"Failed: {error}", "failed")


def _tell(told: _Told) -> ToolDenied:
    if told.outcome == "retry":
        raise ModelRetry(told.text)
    if told.outcome == "failed":
        raise TellModel(told.text)
    return ToolDenied(told.text)


class _Arguments:
    """The tool's own contract as the validator that pydantic-ai asks."""

    def __init__(self, work: Work, tool: Tool) -> None:
        self._work = work
        self._tool = tool

    def validate_json(self, input: str | bytes | bytearray, **_: Any) -> dict[str, Any]:  # noqa: A002
        try:
            arguments = parse(bytes(input) if isinstance(input, bytearray) else input)
        except NotJson as error:
            raise ModelRetry(f"The arguments of {self._tool.name} cannot be read: {error}") from None
        return self.validate_python(arguments)

    def validate_python(self, input: Any, **_: Any) -> dict[str, Any]:  # noqa: A002
        if not isinstance(input, dict):
            raise ModelRetry(f"The arguments of {self._tool.name} must be one object.")
        try:
            return self._work.complete(self._tool, input)
        except InvalidArguments as error:
            raise ModelRetry(str(error)) from None


class Proposals(AbstractCapability[Any]):
    """Takes what the agent proposes to the gate, and keeps a record of what it may not even propose."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults:
        """Have every proposal of one answer decided; suspends the run while one of them is not."""
        proposals = {call.tool_call_id: self._proposal(call, ctx.messages) for call in requests.approvals}
        decisions = await self._work.pump.call(_review_all, self._work, list(proposals.values()))
        results = DeferredToolResults()
        for tool_call_id, decision in zip(proposals, decisions, strict=True):
            if isinstance(decision, Denied):
                results.approvals[tool_call_id] = ToolDenied(decision.reason)
            elif isinstance(decision, Approved) and decision.arguments is not None:
                results.approvals[tool_call_id] = ToolApproved(override_args=decision.arguments)
                results.metadata[tool_call_id] = {EDITED: True}
            else:
                results.approvals[tool_call_id] = ToolApproved()
        return results

    def _proposal(self, call: ToolCallPart, messages: Sequence[ModelMessage]) -> Proposal:
        place = place_of(call.tool_call_id, messages)
        proposal = propose(self._work, place, call.tool_name, {})
        arguments = self._work.complete(proposal.tool, call.args_as_dict())
        return Proposal(proposal.path, proposal.tool, arguments, proposal.why)

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Put on record that the model asked for a tool it does not have; pydantic-ai tells the model so."""
        offered = request_context.model_request_parameters
        known = {tool.name for tool in (*offered.function_tools, *offered.output_tools)}
        if any(call.tool_name not in known for call in response.tool_calls):
            messages = [*request_context.messages, response]
            for call in response.tool_calls:
                if call.tool_name not in known:
                    place = place_of(call.tool_call_id, messages)
                    await self._work.pump.call(_refuse_unknown, self._work, place, call)
        return response

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Keep an async tool that ends the process from ending the loop of everybody."""
        try:
            return await handler(args)
        except (SystemExit, KeyboardInterrupt) as escape:
            raise TellModel(f"Failed: {Escaped(escape)}") from escape


def _review_all(work: Work, proposals: list[Proposal]) -> list[Decision]:
    """On the turn's thread. Those already decided do not wait for those that are not."""
    decisions = [_review(work, proposal) for proposal in proposals]
    pairs = list(zip(proposals, decisions, strict=True))
    held = [proposal.tool.title for proposal, decision in pairs if isinstance(decision, Held)]
    if not held:
        return decisions
    for proposal, decision in pairs:
        if isinstance(decision, Approved):
            _go_ahead(work, proposal, decision)
    raise Suspend(f"a decision: {', '.join(held)}")


def _review(work: Work, proposal: Proposal) -> Decision:
    try:
        return work.port.review_tool(
            proposal.path, proposal.tool, proposal.arguments, proposal.why, work.definition
        )
    except Refused:
        # The tool's own rules say no: nobody is asked, and making the call puts the refusal on record.
        return Approved()
    except Rejected as verdict:
        return Denied(_told(verdict).text)


def _go_ahead(work: Work, proposal: Proposal, decision: Approved) -> None:
    """Make the call now and let the model hear of it later, from the record."""
    arguments = proposal.arguments if decision.arguments is None else decision.arguments
    with suppress(Refused, InvalidData, StaleData, ToolFailed):
        work.port.call_tool(proposal.path, proposal.tool, arguments, proposal.why, work.definition)


def _refuse_unknown(work: Work, place: Place, call: ToolCallPart) -> None:
    path, asked = place.below(work.path), keepable(call.args)
    mark = fingerprint([call.tool_name, asked])
    if work.port.recorded(path, "tool", call.tool_name, mark) is None:
        work.port.begin(path, "tool", call.tool_name, mark, asked, 0.0)
        reason = f"{work.definition.name} has no tool called {call.tool_name}."
        work.port.fail(path, Refused(reason))
