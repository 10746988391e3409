"""The question every call must pass. The engine knows no approvals: it asks whoever is installed here.

Closed by default: with no gate installed, every write and irreversible call is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from runs.journal import Entry
from runs.turns.checkpoint import Write
from tools.contract import Effect, Tool


class Next(StrEnum):
    """What a reviewer who says no wants to happen next."""

    STOP = "stop"  # end the run
    SEND_BACK = "send_back"  # the reason goes back to whoever proposed it
    CONTINUE = "continue"  # go on without this act


STOP, SEND_BACK, CONTINUE = Next.STOP, Next.SEND_BACK, Next.CONTINUE


class Rejected(Exception):  # noqa: N818 - workflow code reads `except Rejected as verdict`
    """A person decided against the call.

    `reason` is what they wrote, `next` what they want to happen, `by` the actor, `approval_id` the record.
    """

    def __init__(self, reason: str, *, next: Next = Next.STOP, by: str = "", approval_id: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.next = next
        self.by = by
        self.approval_id = approval_id


class Expired(Rejected):
    """Nobody decided in time; the default outcome was to go no further."""


@dataclass(frozen=True)
class ProposedCall:
    """Exactly what is about to be done, as the gate and the reviewer see it."""

    run_id: str
    step_id: str
    path: str
    workflow: str
    workflow_version: int
    tool: Tool
    arguments: dict[str, Any]
    arguments_digest: str
    key: str
    requester: str
    why: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    confidence: float | None = None
    agent: str = ""
    agent_version: str = ""
    model: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Go:
    """The call may go on; `policy` says by which rule, `approval_id` by whose decision if by a person's.

    `uses` are the rows that use that decision up, to be written with the intent of the call.
    """

    policy: str
    approval_id: str = ""
    by: str = ""
    uses: tuple[Write, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Hold:
    """A person must decide. `request` is the gate's own and comes back to it in ``open``."""

    policy: str
    request: Any = None


@dataclass(frozen=True)
class Refuse:
    """The call may not be made."""

    kind: str  # rejected, expired, policy, withdrawn
    reason: str
    next: Next | None = None
    by: str = ""
    approval_id: str = ""


Verdict = Go | Hold | Refuse


class Gate(Protocol):
    """What an installed gate must answer."""

    def review(self, call: ProposedCall) -> Verdict:
        """Before anything is written: may the call go on, must it be held, is it refused? Reads only."""

    def open(self, call: ProposedCall, hold: Hold) -> list[Entry]:
        """In the transaction that parks the step, with the run locked: ask a person. Returns what to
        record.
        """

    def answer(self, call: ProposedCall) -> Verdict:
        """In the transaction of the intent, with the run locked: what was decided about exactly this call.

        A Go carries what uses the decision up for ``call.key``: no other call can use it then, this call's
        retries can.
        """

    def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Entry]:
        """In the transaction that ends the run, or the step `step_id` alone: nobody needs to decide its open
        requests any more.
        """


class ClosedGate:
    """What stands here until a gate is installed: reads and drafts pass, nothing else does."""

    def review(self, call: ProposedCall) -> Verdict:
        if call.tool.effect in (Effect.READ, Effect.DRAFT):
            return Go(policy="no gate: reads and drafts")
        return Refuse("policy", "No gate is installed, so nothing may be changed.")

    def open(self, call: ProposedCall, hold: Hold) -> list[Entry]:
        raise NotImplementedError("the closed gate holds nothing")

    def answer(self, call: ProposedCall) -> Verdict:
        return self.review(call)

    def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Entry]:
        return []


_installed: Gate = ClosedGate()


def install(gate: Gate) -> None:
    """Put `gate` in charge; called once, when Django is ready."""
    global _installed
    _installed = gate


def installed() -> Gate:
    """The gate in charge."""
    return _installed
