"""The words of a decision: who is asked, what happens next, and how much can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runs.gate import Next
from tools.effects import Reversibility

if TYPE_CHECKING:
    from approvals.models import Approval

#: What becomes of the run, as the end of "…, then".
THEN = {
    Next.STOP: "the run stops",
    Next.SEND_BACK: "it goes back to whoever proposed it",
    Next.CONTINUE: "the run goes on without it",
}
#: What a reviewer who says no may choose: the word, and what it means.
CHOICES = {
    Next.STOP: ("Stop the run", "Nothing more is done in this run."),
    Next.SEND_BACK: ("Send back", "Whoever proposed it reads your reason and may propose something else."),
    Next.CONTINUE: ("Continue without it", "The run goes on, but this is not done."),
}
UNDO = {
    Reversibility.FULL: "Can be undone",
    Reversibility.PARTIAL: "Can be undone in part",
    Reversibility.NONE: "Cannot be undone",
}


def asked_of(approval: Approval) -> str:
    """Who is asked, with the number of people it takes."""
    if approval.quorum > 1:
        of = f"of {approval.group.name}" if approval.group else "who may decide"
        return f"{approval.quorum} people {of}"
    return approval.group.name if approval.group else "anyone who may decide"
