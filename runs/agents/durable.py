"""Model requests as steps: answered from the record, or on record before they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationId,
    JournalCallableOperationBackend,
    ModelCompactMessagesId,
    ModelRequestId,
    RoleBasedOperationConfig,
    conversation_id_from_run_id,
)
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from runs.agent import AgentFailed
from runs.agents.loop import Escaped
from runs.agents.port import JSON, Recorded, Usage
from runs.agents.work import Work, fingerprint, keepable, last_message
from tools.canonical import NotJson, normalise
from tools.contract import LARGEST_RESULT
from tools.failures import Failure, FailureClass, classify


class ModelFailed(AgentFailed):
    """A model request failed for good."""


class Durability(BaseDurabilityCapability[Any]):
    """Makes every model request of one running agent a step of its run."""

    engine_spec = DurabilityEngineSpec(
        engine_name="Holdpoint", durable_unit_noun="step", durable_container_noun="run", codec=JSON_CODEC
    )

    def __init__(self, work: Work) -> None:
        super().__init__(name=work.definition.name)
        self._backend = _Backend(work)
        self._path = work.path

    @property
    def in_durable_context(self) -> bool:
        """Always: this object is made for one agent in one turn."""
        return True

    def get_durable_operation_backend(self) -> _Backend:
        """What carries out the operations."""
        return self._backend

    def get_default_run_id(self) -> str:
        """The same at every replay."""
        return self._path

    def get_default_conversation_id(self, run_id: str) -> str:
        """The same at every replay."""
        return conversation_id_from_run_id(run_id)


@dataclass(frozen=True)
class _Step:
    path: str
    kind: str
    name: str
    fingerprint: str
    arguments: JSON


class _Backend(JournalCallableOperationBackend[None]):
    def __init__(self, work: Work) -> None:
        config = RoleBasedOperationConfig[None](model=None, event=None, capability=None, tool=None)
        super().__init__(agent_name=work.definition.name, config=config)
        self._work = work

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: None,
    ) -> object:
        """Answer from the record, or do it: begin, body, finish."""
        step = self._step(operation_id, name, cache_key)
        recorded = await self._work.pump.call(self._open, step)
        if recorded is not None:
            return self._replayed(recorded)
        payload = await self._perform(step, body)
        usage, sentence = self._account(step, payload)
        await self._work.pump.call(self._work.port.finish, step.path, payload, usage, sentence)
        self._work.add(usage)
        return payload

    def _open(self, step: _Step) -> Recorded | None:
        port = self._work.port
        recorded = port.recorded(step.path, step.kind, step.name, step.fingerprint)
        if recorded is None:
            timeout = self._work.definition.limits.request_seconds
            port.begin(step.path, step.kind, step.name, step.fingerprint, step.arguments, timeout)
        return recorded

    def _replayed(self, recorded: Recorded) -> JSON:
        self._work.add(recorded.usage)
        if recorded.failure is not None:
            raise ModelFailed(recorded.failure)
        return recorded.result

    async def _perform(self, step: _Step, body: Callable[[], Awaitable[object]]) -> JSON:
        try:
            with self._work.pump.act():
                async with asyncio.timeout(self._work.definition.limits.request_seconds):
                    return normalise(await body(), most=LARGEST_RESULT)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            failed = ModelFailed(self._failure(error))
            await self._work.pump.call(self._work.port.fail, step.path, failed)
            raise failed from error

    def _failure(self, error: BaseException) -> Failure:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            return classify(Escaped(error))
        if isinstance(error, TimeoutError):
            seconds = self._work.definition.limits.request_seconds
            return Failure(FailureClass.TRANSIENT, f"{self._work.model} did not answer within {seconds:g} s")
        if isinstance(error, ModelHTTPError):
            failure = classify(error)
            return Failure(failure.kind, failure.message, error.retry_after, failure.proof)
        if isinstance(error, ModelAPIError):
            return Failure(FailureClass.TRANSIENT, f"{self._work.model} gave no answer: {error}")
        if isinstance(error, UnexpectedModelBehavior):
            return Failure(FailureClass.INVALID_DATA, f"{self._work.model} sent no answer to read: {error}")
        if isinstance(error, NotJson):
            return Failure(FailureClass.INVALID_DATA, f"{self._work.model} sent what cannot be kept: {error}")
        return classify(error)

    def _step(self, operation: DurableOperationId, name: str, key: tuple[object, ...]) -> _Step:
        """Where and as what the operation goes on record; kinds that a later release adds, by their name."""
        agent = self._work.definition
        if isinstance(operation, ModelRequestId):
            message = last_message(messages_of(key))
            return _Step(
                self._work.next_path("model"),
                "model",
                agent.name,
                fingerprint(message),
                {
                    "agent": agent.name,
                    "agent_version": agent.version,
                    "model": self._work.model,
                    "tools": sorted(tool.name for tool in tools_of(key)),
                    "message": keepable(message),
                },
            )
        kind = "model" if isinstance(operation, ModelCompactMessagesId) else "operation"
        return _Step(self._work.next_path(name), kind, name, fingerprint(name), {"agent": agent.name})

    def _account(self, step: _Step, payload: JSON) -> tuple[Usage | None, str]:
        if step.kind != "model":
            return None, f"{self._work.definition.name} finished {step.name}."
        answer: ModelResponse = JSON_CODEC.load(ModelResponse, payload)
        return usage_of(answer, self._work), sentence_of(answer, self._work)


def messages_of(key: tuple[object, ...]) -> list[ModelMessage]:
    """The messages in the key of a model request; its layout is pydantic-ai's own (see the contract test)."""
    return cast("list[ModelMessage]", key[1])


def tools_of(key: tuple[object, ...]) -> list[ToolDefinition]:
    """The tools that a model request offers."""
    return cast("ModelRequestParameters", key[3]).function_tools


def usage_of(answer: ModelResponse, work: Work) -> Usage:
    """What the request cost. A script costs nothing; a live model whose price nobody knows costs None."""
    used = answer.usage
    cost = Decimal(0) if work.definition.scripted else used.cost
    if cost is None:
        cost = _price(answer)
    return Usage(used.input_tokens, used.output_tokens, cost, work.model)


def _price(answer: ModelResponse) -> Decimal | None:
    try:
        return answer.cost().total_price
    except (LookupError, ValueError, AssertionError):
        return None


def sentence_of(answer: ModelResponse, work: Work) -> str:
    """What the model did, for people; a script is called one."""
    name = work.definition.name
    who = f"The script of {name}" if work.definition.scripted else name
    wanted = {tool.name for tool in work.definition.tools}
    calls = [call.tool_name for call in answer.tool_calls]
    if asked := [call for call in calls if call in wanted]:
        return f"{who} asked for {_listed(asked)}."
    return f"{who} gave its answer."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
