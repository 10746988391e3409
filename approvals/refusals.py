"""Why a decision is not taken: one class a cause, each with what to do now in its sentence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from approvals.states import ApprovalState
from runs import actors
from runs.gate import Next

if TYPE_CHECKING:
    from approvals.models import Approval


@dataclass(frozen=True)
class Outcome:
    """How a request stands: the state, and once it has ended by whom, when and why. `at` is aware."""

    state: ApprovalState
    by: str = ""
    at: datetime | None = None
    reason: str = ""
    next: Next | None = None

    @property
    def sentence(self) -> str:
        """Who did what, without the time, such as ``ana rejected this: wrong account.``"""
        who, why = actors.plain_name(self.by), self.reason.rstrip(".")
        said = {
            ApprovalState.PENDING: "Nobody has decided yet",
            ApprovalState.APPROVED: f"{who} approved this",
            ApprovalState.REJECTED: f"{who} rejected this",
            ApprovalState.EXPIRED: "Nobody decided in time",
            ApprovalState.WITHDRAWN: "This was withdrawn",
            ApprovalState.SUPERSEDED: "A newer request has taken the place of this one",
        }[self.state]
        told = why and self.state not in (ApprovalState.EXPIRED, ApprovalState.PENDING)
        return f"{said}: {why}." if told else f"{said}."


def outcome_of(approval: Approval) -> Outcome:
    """How `approval` stands."""
    return Outcome(
        state=ApprovalState(approval.state),
        by=approval.decided_by,
        at=approval.decided_at,
        reason=approval.reason,
        next=Next(approval.next) if approval.next else None,
    )


class ApprovalError(Exception):
    """Base of every refusal here; `code` is its name for machines. Do not raise directly."""

    code = "approval_error"


class NotFound(ApprovalError):
    """There is no such approval."""

    code = "not_found"


class NotAllowed(ApprovalError):
    """This person may not decide this."""

    code = "not_allowed"


class Unclear(ApprovalError):
    """The decision is incomplete; `field` names what to correct."""

    code = "unclear"

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class AlreadyDecided(ApprovalError):
    """It has ended, or this person has already said otherwise; `outcome` tells who, when, what and why."""

    code = "already_decided"

    def __init__(self, message: str, *, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


class Changed(ApprovalError):
    """What would be done is not what was shown; `approval_id` is the request that stands now."""

    code = "changed"

    def __init__(self, message: str, *, approval_id: str) -> None:
        super().__init__(message)
        self.approval_id = approval_id


class ExpiredAlready(ApprovalError):
    """The time to decide is over, whether or not a caretaker has noted it yet."""

    code = "expired"

    def __init__(self, message: str, *, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome
