"""The words of approvals: where a request stands, what a person says, and why they say no."""

from __future__ import annotations

from enum import StrEnum


class ApprovalState(StrEnum):
    """Where a request that a person decide stands."""

    PENDING = "pending"  # somebody must decide
    APPROVED = "approved"  # enough people said yes
    REJECTED = "rejected"  # one person said no
    EXPIRED = "expired"  # nobody decided in time; never an approval, and not a person's no either
    WITHDRAWN = "withdrawn"  # nobody needs to decide any more
    SUPERSEDED = "superseded"  # what would be done has changed; another request stands in its place


class Verdict(StrEnum):
    """What one person says."""

    APPROVE = "approve"
    REJECT = "reject"


class ReasonCode(StrEnum):
    """Why a person says no, when they pick from the list."""

    WRONG_AMOUNT = "wrong_amount"
    WRONG_TARGET = "wrong_target"
    MISSING_EVIDENCE = "missing_evidence"
    NOT_ALLOWED = "not_allowed"
    OTHER = "other"  # says nothing by itself: it needs a text

    @property
    def label(self) -> str:
        """The code as a person reads it."""
        return self.value.replace("_", " ").capitalize()
