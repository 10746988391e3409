"""What somebody wants to call, and why: as a step, as the tool's hooks and as the gate see it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from runs.gate import ProposedCall
from runs.models import Step
from runs.states import StepState
from runs.turns.turn import Turn
from tools.canonical import digest
from tools.contract import Call, InvalidArguments, Tool

KEY_LENGTH = 40
MOST_VERSIONS = 1000  # so far back is an earlier version of a tool known again


@dataclass(frozen=True)
class Proposal:
    """What somebody wants to call, and why: `arguments` are validated."""

    path: str
    tool: Tool
    arguments: dict[str, Any]
    why: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    confidence: float | None = None
    agent: str = ""
    agent_version: str = ""
    model: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what is asked for: another tool, version or argument is another step."""
        return self._as_of(self.tool.version, self.arguments)

    def _as_of(self, version: int, arguments: Any) -> str:
        return digest({"tool": self.tool.name, "version": version, "arguments": arguments})

    def fits(self, step: Step) -> bool:
        """Whether `step`, whose fingerprint is another, is this call, recorded under another version of the
        tool: what was asked for then, completed by the tool's contract of today, is what is asked for now.

        One that has not ended, recorded under a later version, is left to code that knows that version.
        """
        if not self._asks_as(step.arguments):
            return False
        return step.ended or self._is_of_an_earlier_version(step)

    def _asks_as(self, recorded: Any) -> bool:
        if not isinstance(recorded, dict):
            return False
        try:
            return bool(self.tool.validate(recorded) == self.arguments)
        except InvalidArguments:
            return False

    def _is_of_an_earlier_version(self, step: Step) -> bool:
        latest = self.tool.version
        earlier = range(latest, max(0, latest - MOST_VERSIONS), -1)
        return any(self._as_of(version, step.arguments) == step.fingerprint for version in earlier)

    def asked_by(self, step: Step) -> Proposal:
        """The proposal with the arguments of `step`: one key goes with one digest, also after the contract
        has gained parameters with defaults.
        """
        kept: Any = step.arguments
        return self if kept == self.arguments else replace(self, arguments=kept)

    def is_of_another_version(self, step: Step) -> bool:
        """Whether `step` was recorded under another version of the tool, which nobody was asked about."""
        return step.fingerprint != self._as_of(self.tool.version, step.arguments)

    @cached_property
    def arguments_digest(self) -> str:
        """Digest of the arguments alone: what people decide about."""
        return digest(self.arguments)


@lru_cache(maxsize=1024)
def idempotency_key(run_id: str, path: str, generation: int = 0) -> str:
    """The key of the step at `path`: the same for every attempt, every replay and every worker.

    After a person had the run go back, what is done over is another act: `generation` counts how often.
    """
    return digest([run_id, path, generation] if generation else [run_id, path])[:KEY_LENGTH]


def key_of(turn: Turn, proposal: Proposal) -> str:
    """The key on record, or the one that the step will have."""
    step = turn.steps.get(proposal.path)
    return step.key if step else idempotency_key(turn.run.id, proposal.path, turn.run.generation)


def new_step(turn: Turn, proposal: Proposal, step_id: str, state: StepState) -> Step:
    return turn.new_step(
        proposal.path,
        "tool",
        proposal.tool.name,
        proposal.fingerprint,
        step_id=step_id,
        state=state.value,
        arguments=proposal.arguments,
        effect=proposal.tool.effect.value,
        key=key_of(turn, proposal),
        model=proposal.model,
    )


def hook_call(turn: Turn, proposal: Proposal, step_id: str) -> Call:
    key = key_of(turn, proposal)
    return proposal.tool.call(proposal.arguments, key, turn.run.id, step_id)


def as_proposed(turn: Turn, proposal: Proposal, step_id: str) -> ProposedCall:
    changes = proposal.tool.effect.changes_the_world
    return ProposedCall(
        run_id=turn.run.id,
        step_id=step_id,
        path=proposal.path,
        workflow=turn.run.workflow,
        workflow_version=turn.run.version,
        tool=proposal.tool,
        arguments=proposal.arguments,
        arguments_digest=proposal.arguments_digest,
        key=key_of(turn, proposal),
        requester=turn.run.requester,
        why=proposal.why,
        evidence=proposal.evidence,
        confidence=proposal.confidence,
        agent=proposal.agent,
        agent_version=proposal.agent_version,
        model=proposal.model,
        facts=proposal.tool.declared_facts(hook_call(turn, proposal, step_id)) if changes else {},
    )
