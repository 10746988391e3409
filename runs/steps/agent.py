"""An agent as a step: its model requests and tool calls are steps below it, its answer is its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from runs import budget
from runs.agent import AgentDefinition
from runs.agents.port import Approved, Decision, Held, Recorded, Usage
from runs.models import Step
from runs.states import StepState
from runs.steps.guards import before_request
from runs.steps.proposal import Proposal
from runs.steps.tool import review, run_tool
from runs.turns.turn import Turn
from runs.values import keep_result, recorded_result
from tools.canonical import digest, normalise
from tools.contract import Tool
from tools.failures import Failure, FailureClass, classify

if TYPE_CHECKING:
    from runs.agents.run import AgentResult


def run_agent_step(
    turn: Turn, path: str, definition: AgentDefinition, prompt: Any, *, deps: Any, feedback: str | None
) -> AgentResult:
    """The agent's answer: from the record, or by running it on from where the record ends.

    Raises AgentFailed, Rejected when a reviewer wants the run to stop, and what ends the turn.
    """
    # pydantic-ai takes most of a second to import: only a process that runs an agent pays for it.
    from runs.agents.loop import Waiting
    from runs.agents.run import recorded_result as recorded_answer
    from runs.agents.run import run_agent

    asked = digest({"version": definition.version, "prompt": normalise(prompt), "feedback": feedback})
    given = {"prompt": normalise(prompt), "feedback": feedback, "version": definition.version}
    step = turn.find(path, "agent", definition.name, asked, arguments=given)
    if step is None:
        step = turn.new_step(
            path,
            "agent",
            definition.name,
            asked,
            arguments=given,
            model=definition.model_identifier,
        )
        turn.note("agent.started", f"Agent {definition.name} begins", step, version=definition.version)
    if step.state == StepState.SUCCEEDED:
        return recorded_answer(definition, recorded_result(turn, step), step.model)
    lane = turn.lanes.current()
    result = run_agent(
        AgentPort(turn, definition),
        path,
        definition,
        prompt,
        deps=deps,
        feedback=feedback,
        waiting=Waiting(turn.lanes.get, partial(turn.lanes.nudge, lane)),
        recorded_model=step.model if turn.replays else "",
    )
    _finish(turn, step, result)
    # As it is read back later, so that the code sees no other answer the first time.
    return replace(result, output=recorded_answer(definition, result.data, result.model).output)


def _finish(turn: Turn, step: Step, result: AgentResult) -> None:
    step.succeed()
    beside = keep_result(turn, step, result.data)
    turn.finished(step)
    by = " (scripted)" if result.scripted else ""
    turn.note(
        "agent.succeeded",
        f"Agent {step.name}{by} answered",
        step,
        model=result.model,
        result=digest(result.data),
        reasoning=result.reasoning,
        confidence=result.confidence,
        **beside,
    )
    if beside:
        turn.commit()


class AgentPort:
    """The turn as an agent sees it (runs.agents.port.TurnPort)."""

    def __init__(self, turn: Turn, definition: AgentDefinition) -> None:
        self.turn = turn
        self.definition = definition

    def recorded(self, path: str, kind: str, name: str, fingerprint: str) -> Recorded | None:
        """The finished step at `path`, or None."""
        step = self.turn.find(path, kind, name, fingerprint)
        if step is None or step.state == StepState.STARTED:
            return None
        if step.state == StepState.FAILED:
            error = step.error or {}
            return Recorded(
                failure=Failure(FailureClass(error.get("kind", "fatal")), error.get("message", ""))
            )
        usage = Usage(step.input_tokens, step.output_tokens, step.cost, step.model)
        return Recorded(recorded_result(self.turn, step), usage if kind == "model" else None)

    def begin(
        self, path: str, kind: str, name: str, fingerprint: str, arguments: Any, timeout: float
    ) -> None:
        """The intent on record, with a lease that outlives the request."""
        turn = self.turn
        turn.lanes.make_room()
        step = turn.find(path, kind, name, fingerprint)
        before_request(turn, path, self.definition.name)
        if step is None:
            budget.must_allow(turn, kind, self.definition)
            model = arguments.get("model", "") if kind == "model" else ""
            step = turn.new_step(path, kind, name, fingerprint, arguments=arguments, model=model)
        else:
            turn.restart(step)
        turn.note(f"{kind}.started", f"Asks {name}" if kind == "model" else f"Begins {name}", step)
        turn.intend(turn.lease_for(timeout), step)
        turn.lanes.holds(timeout)

    def finish(self, path: str, result: Any, usage: Usage | None, sentence: str) -> None:
        """The result on record; a model request cost money and is committed at once."""
        self.turn.lanes.holds(0.0)
        step = self.turn.steps[path]
        step.succeed()
        beside = keep_result(self.turn, step, result)
        if usage is not None:
            step.input_tokens, step.output_tokens = usage.input_tokens, usage.output_tokens
            step.cost = usage.cost_usd
        self.turn.finished(step)
        self.turn.note(f"{step.kind}.succeeded", sentence, step, result=digest(result), **beside)
        self.turn.commit()

    def fail(self, path: str, error: BaseException) -> None:
        """The failure on record."""
        self.turn.lanes.holds(0.0)
        step = self.turn.steps[path]
        failure = classify(error)
        step.fail()
        step.error = {"kind": failure.kind.value, "message": failure.message}
        self.turn.finished(step)
        self.turn.note(
            f"{step.kind}.failed", f"{step.name} failed: {failure.message}", step, failure=failure.kind.value
        )
        self.turn.commit()

    def call_tool(
        self, path: str, tool: Tool, arguments: Mapping[str, Any], why: str, agent: AgentDefinition
    ) -> Any:
        """One whole tool step."""
        return run_tool(self.turn, _proposal(path, tool, arguments, why, agent))

    def review_tool(
        self, path: str, tool: Tool, arguments: Mapping[str, Any], why: str, agent: AgentDefinition
    ) -> Decision:
        """May the proposed call be made? Opens the request that it needs."""
        return Approved() if review(self.turn, _proposal(path, tool, arguments, why, agent)) else Held()


def _proposal(
    path: str, tool: Tool, arguments: Mapping[str, Any], why: str, agent: AgentDefinition
) -> Proposal:
    return Proposal(
        path,
        tool,
        tool.validate(arguments),
        why=why,
        agent=agent.name,
        agent_version=str(agent.version),
        model=agent.model_identifier,
    )
