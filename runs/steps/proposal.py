"""What somebody wants to call, and why: as a step, as the tool's hooks and as the gate see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from runs.gate import ProposedCall
from runs.models import Step
from runs.states import StepState
from runs.turns.turn import Turn
from tools.canonical import digest
from tools.contract import Call, Tool

KEY_LENGTH = 40


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
        return digest({"tool": self.tool.name, "version": self.tool.version, "arguments": self.arguments})

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


def _key_of(turn: Turn, proposal: Proposal) -> str:
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
        key=_key_of(turn, proposal),
        model=proposal.model,
    )


def hook_call(turn: Turn, proposal: Proposal, step_id: str) -> Call:
    key = _key_of(turn, proposal)
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
        key=idempotency_key(turn.run.id, proposal.path),
        requester=turn.run.requester,
        why=proposal.why,
        evidence=proposal.evidence,
        confidence=proposal.confidence,
        agent=proposal.agent,
        agent_version=proposal.agent_version,
        model=proposal.model,
        facts=proposal.tool.declared_facts(hook_call(turn, proposal, step_id)) if changes else {},
    )
