"""Run one agent inside a turn: replay what is on record, go on from there."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_ai import Agent
from pydantic_ai.capabilities import UseThreadExecutor
from pydantic_ai.exceptions import AgentRunError, UsageLimitExceeded, UserError
from pydantic_ai.models import Model
from pydantic_ai.usage import UsageLimits

from runs.agent import SCRIPTED, AgentDefinition, AgentFailed, Limits
from runs.agents.durable import Durability
from runs.agents.live import live_model, silent_model
from runs.agents.loop import Pump, Waiting, process_loop, run_on_loop
from runs.agents.port import JSON, NOTHING, TurnPort, Usage
from runs.agents.script import Conversation
from runs.agents.scripted import asked, scripted_model
from runs.agents.toolset import AgentTools, Proposals
from runs.agents.work import Work
from tools.canonical import in_kept_order, normalise
from tools.contract import LARGEST_RESULT
from tools.failures import Failure, FailureClass, classify


@dataclass(frozen=True)
class AgentResult:
    """What an agent answered, why, and at what cost (recorded requests included).

    `output` is the validated value, `data` the same as JSON. `reasoning`, `evidence` and `confidence` are the
    output's fields of these names, where it has them. `scripted` says that no model was asked.
    """

    output: Any
    data: JSON
    reasoning: str
    evidence: list[JSON]
    confidence: float | None
    usage: Usage
    model: str
    scripted: bool


def run_agent(
    port: TurnPort,
    path: str,
    definition: AgentDefinition,
    prompt: Any,
    *,
    deps: Any = None,
    feedback: str | None = None,
    waiting: Waiting | None = None,
    recorded_model: str = "",
) -> AgentResult:
    """Run the agent to its answer, on the turn's own thread; `path` is its place among the run's steps.

    `prompt` is text, or a value that the model is given as JSON; `feedback` what a reviewer said to an older
    draft. With `recorded_model`, only the record is replayed: it names the model that answered then, and no
    model is asked. Raises AgentFailed, runs.gate.Rejected when a reviewer wants it to stop,
    ImproperlyConfigured when there is no model, and whatever the port raises, above all Suspend.
    """
    identifier = recorded_model or definition.model_identifier
    text = _prompt(prompt, feedback)
    for tool in definition.tools:  # the loop, where the model is told of them, must not ask the database
        tool.refresh()

    async def main(pump: Pump) -> AgentResult:
        asked.set(Conversation(input=prompt, turn=1, deps=deps, feedback=feedback))
        work = Work(port, path, definition, identifier, pump, _bound(definition, deps))
        agent = _agent(definition, identifier, silent=bool(recorded_model))
        try:
            output = await _converse(agent, work, text, deps)
        except AgentFailed:
            raise
        except Exception as error:
            raise AgentFailed(_failure(error, definition)) from error
        return _result(definition, output, work.usage, identifier)

    return run_on_loop(main, waiting=waiting)


async def _converse(agent: Agent[Any, Any], work: Work, text: str, deps: Any) -> Any:
    # Ordered: which of two failing siblings counts must not depend on which was quicker.
    with agent.parallel_tool_call_execution_mode("parallel_ordered_events"):
        answer = await agent.run(
            text,
            deps=deps,
            capabilities=[Durability(work), Proposals(work), UseThreadExecutor(work.pump.executor)],
            toolsets=[AgentTools(work)],
            usage_limits=_usage_limits(work.definition.limits),
        )
    return answer.output


def _agent(definition: AgentDefinition, identifier: str, *, silent: bool) -> Agent[Any, Any]:
    """The pydantic-ai agent, made once for each loop: a live model's connections belong to the loop."""
    made = process_loop().kept
    key = (definition, identifier, silent)
    if key not in made:
        made[key] = Agent(
            silent_model(identifier) if silent else _model(definition, identifier),
            name=definition.name,
            output_type=definition.output,
            instructions=definition.instructions,
            retries=definition.limits.corrections,
        )
    agent: Agent[Any, Any] = made[key]
    return agent


def _model(definition: AgentDefinition, identifier: str) -> Model:
    return scripted_model(definition, identifier) if definition.scripted else live_model(identifier)


def _usage_limits(limits: Limits) -> UsageLimits:
    return UsageLimits(
        request_limit=limits.model_requests,
        tool_calls_limit=limits.tool_calls,
        total_tokens_limit=limits.tokens,
        cost_limit=limits.cost_usd,
    )


def _bound(definition: AgentDefinition, deps: Any) -> dict[str, JSON]:
    return normalise(dict(definition.bind(deps))) if definition.bind else {}


def _prompt(prompt: Any, feedback: str | None) -> str:
    text = prompt if isinstance(prompt, str) else json.dumps(normalise(prompt), ensure_ascii=False, indent=2)
    if feedback is None:
        return text
    return f"{text}\n\nA reviewer did not accept the last draft and wrote:\n{feedback}"


def _failure(error: Exception, definition: AgentDefinition) -> Failure:
    if isinstance(error, UsageLimitExceeded):
        return Failure(FailureClass.BUDGET, f"Agent {definition.name} has used up its limits: {error}")
    if isinstance(error, AgentRunError):
        return Failure(FailureClass.INVALID_DATA, f"Agent {definition.name} came to no valid answer: {error}")
    if isinstance(error, UserError):
        return Failure(FailureClass.FATAL, f"Agent {definition.name} is not set up rightly: {error}")
    failure = classify(error)
    return replace(failure, message=f"Agent {definition.name} failed: {failure.message}")


def recorded_result(definition: AgentDefinition, data: JSON, model: str) -> AgentResult:
    """The answer of an agent step that had ended: from its record alone, nothing is asked or run.

    Its usage stands on the steps below it. Raises AgentFailed when the output no longer takes the answer.
    """
    try:
        output = _adapter(definition.output).validate_python(data)
    except ValidationError as error:
        raise AgentFailed(_failure(error, definition)) from error
    return _result(definition, output, NOTHING, model)


@cache
def _adapter(output: Any) -> TypeAdapter[Any]:
    return TypeAdapter(output)


def _result(definition: AgentDefinition, output: Any, usage: Usage, model: str) -> AgentResult:
    reasoning = getattr(output, "reasoning", None)
    evidence = getattr(output, "evidence", None)
    confidence = getattr(output, "confidence", None)
    return AgentResult(
        output=output,
        data=in_kept_order(
            normalise(
                _adapter(definition.output).dump_python(output, mode="json", by_alias=True),
                most=LARGEST_RESULT,
            )
        ),
        reasoning=str(reasoning or ""),
        evidence=[normalise(item) for item in evidence] if isinstance(evidence, list | tuple) else [],
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        usage=usage,
        model=model,
        scripted=model.startswith(f"{SCRIPTED}:"),
    )
