"""``Run`` as workflow code sees it: every act goes through here, is recorded, and is read back on replay."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from runs.agent import AgentDefinition
from runs.steps.agent import run_agent_step
from runs.steps.proposal import Proposal
from runs.steps.tool import run_tool
from runs.steps.value import record_value
from runs.steps.wait import sleep_until
from runs.turn import Turn
from tools.canonical import normalise
from tools.contract import Tool

if TYPE_CHECKING:
    from runs.agents.run import AgentResult


class Run:
    """The handle a workflow gets. Its calls are numbered in the order the code makes them."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._calls = 0

    @property
    def id(self) -> str:
        """The run's id, such as run_0…"""
        return self._turn.run.id

    @property
    def requester(self) -> str:
        """The actor who asked for the run, such as user:ana."""
        return self._turn.run.requester

    def tool(
        self,
        tool: Tool,
        /,
        *args: Any,
        why: str = "",
        evidence: Sequence[Any] = (),
        confidence: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call `tool` with the arguments of its function and return its result as the type it declares.

        `why`, `evidence` and `confidence` (0 to 1) are for the reviewer, if the gate asks one. Raises
        tools.failures.Refused when the tool's own rules say no, runs.gate.Rejected (or Expired) when a person
        does, InvalidArguments, and ToolFailed when it failed for good.
        """
        arguments = tool.validate(tool.bind(*args, **kwargs))
        shown = [item if isinstance(item, dict) else normalise(item) for item in evidence]
        proposal = Proposal(
            self._next(), tool, arguments, why=why, evidence=normalise(shown), confidence=confidence
        )
        return tool.restore(run_tool(self._turn, proposal))

    def agent(
        self, definition: AgentDefinition, prompt: Any, *, deps: Any = None, feedback: str | None = None
    ) -> Any:
        """Run an agent to its answer and return that answer (the agent's output type).

        `prompt` is text or a value shown as JSON, `deps` what the workflow binds for its tools, `feedback`
        what a reviewer wrote about the last draft. Raises AgentFailed, and Rejected when a reviewer wants to
        stop.
        """
        return self.ask_agent(definition, prompt, deps=deps, feedback=feedback).output

    def ask_agent(
        self, definition: AgentDefinition, prompt: Any, *, deps: Any = None, feedback: str | None = None
    ) -> AgentResult:
        """As `agent`, with usage, model and stated reasoning beside the answer."""
        return run_agent_step(self._turn, self._next(), definition, prompt, deps=deps, feedback=feedback)

    def sleep(self, seconds: float) -> None:
        """Go on no earlier than `seconds` from now. Costs one row meanwhile."""
        sleep_until(self._turn, self._next(), None, float(seconds))

    def sleep_until(self, moment: datetime) -> None:
        """Go on no earlier than `moment` (aware), by the database's clock."""
        if moment.tzinfo is None:
            raise ValueError("sleep_until needs a moment with a time zone")
        sleep_until(self._turn, self._next(), moment, None)

    def now(self) -> datetime:
        """The moment this line was first reached, by the database's clock; the same on every replay."""
        taken = record_value(self._turn, self._next(), "now", lambda: self._turn.now().isoformat())
        return datetime.fromisoformat(taken)

    def uuid(self) -> uuid.UUID:
        """A random UUID, the same on every replay."""
        return uuid.UUID(record_value(self._turn, self._next(), "uuid", lambda: str(uuid.uuid4())))

    def random(self) -> float:
        """A random number from 0 to below 1, the same on every replay. Not for secrets."""
        taken: float = record_value(self._turn, self._next(), "random", random.random)
        return taken

    def _next(self) -> str:
        self._calls += 1
        return str(self._calls)
