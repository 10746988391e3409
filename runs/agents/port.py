"""What an agent asks of the turn it runs in. The engine's turn provides it; tests bring their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from tools.contract import Tool
from tools.failures import Failure

if TYPE_CHECKING:
    from runs.agent import AgentDefinition

JSON = Any  # a value of JSON: None, bool, int, float, str, list, dict with string keys


@dataclass(frozen=True)
class Usage:
    """What model requests cost. `cost_usd` is None when nobody knows the price, which is not nothing."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    model: str = ""
    requests: int = 1

    def __add__(self, other: Usage) -> Usage:
        known = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=sum(known, Decimal(0)) if known else None,
            model=self.model or other.model,
            requests=self.requests + other.requests,
        )


NOTHING = Usage(requests=0)


@dataclass(frozen=True)
class Recorded:
    """A finished step: its result, or, when it failed for good, why."""

    result: JSON = None
    usage: Usage | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Approved:
    """The proposed call may be made now. `arguments` are a reviewer's edited ones, None when unchanged."""

    arguments: dict[str, Any] | None = None


@dataclass(frozen=True)
class Held:
    """The request is open and nobody has decided yet."""


@dataclass(frozen=True)
class Denied:
    """The call may not be made; `reason` is told to the model."""

    reason: str


Decision = Approved | Held | Denied


class ToolFailed(Exception):
    """A tool step that ended badly in a way the model should hear about and may work around.

    Every other exception out of `call_tool` ends the agent and reaches the workflow as it is.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Unavailable(ToolFailed):
    """The tool was not called, because its other side is known to be away or ill; no attempt was used up."""


class TurnPort(Protocol):
    """The turn's side of an agent's work. Every method is called on the turn's own OS thread, one at a time.

    Any of them may raise a `runs.stops.Stop`: the agent is abandoned and the Stop comes out of `run_agent`.
    Any other exception that is not named here does the same.
    """

    def recorded(self, path: str, kind: str, name: str, fingerprint: str) -> Recorded | None:
        """The finished step at `path` or None. Raises Diverged when another step stands there."""

    def begin(
        self, path: str, kind: str, name: str, fingerprint: str, arguments: JSON, timeout: float
    ) -> None:
        """Put on record that the step starts, before it does; `timeout` is in seconds."""

    def finish(self, path: str, result: JSON, usage: Usage | None, sentence: str) -> None:
        """Put the result on record. A model request is committed at once: it cost money."""

    def fail(self, path: str, error: BaseException) -> None:
        """Put the failure on record; raises Suspend when the step is to be tried again later instead."""

    def call_tool(
        self, path: str, tool: Tool, arguments: Mapping[str, Any], why: str, agent: AgentDefinition
    ) -> JSON:
        """One whole tool step: gate, intent, act, record, retries. A finished one answers from the record.

        Raises tools.failures.Refused, runs.gate.Rejected, InvalidArguments and ToolFailed, which are told to
        the model (except a Rejected that asks to stop: it ends the agent).
        """

    def review_tool(
        self, path: str, tool: Tool, arguments: Mapping[str, Any], why: str, agent: AgentDefinition
    ) -> Decision:
        """May this proposed call be made? Opens the request when it needs one; a finished step is Approved.

        Raises Rejected as `call_tool` does, and Refused: `call_tool` is asked next and puts that on record.
        """
