"""What the queue and the approval page say about one request."""

from __future__ import annotations

from django import template

from approvals.models import Approval, Decision
from approvals.queries import Detail
from approvals.states import ApprovalState, Verdict
from approvals.words import CHOICES, THEN
from runs.gate import Next
from runs.models import Step
from runs.states import StepState

register = template.Library()


@register.filter
def then(approval: Approval) -> str:
    """What becomes of the run if nobody decides."""
    return THEN[Next(approval.on_expiry)]


@register.filter
def failed_checks(approval: Approval) -> int:
    """How many of the tool's checks did not hold."""
    return sum(check.get("ok") is not True for check in approval.preview.get("checks", []))


@register.filter
def outcome(decision: Decision) -> str:
    """What a decision just made leads to, in a sentence."""
    approval = decision.approval
    if approval.state == ApprovalState.PENDING:
        return f"It is counted; {approval.quorum} people must approve."
    if decision.verdict == Verdict.APPROVE:
        return "The run goes on with exactly this call, once."
    return f"{CHOICES[Next(decision.next)][0]}: {CHOICES[Next(decision.next)][1]}" if decision.next else ""


@register.simple_tag
def what_next(detail: Detail, step: Step | None) -> str:
    """What became of a request that has ended, or of a decision that does not end it yet."""
    approval = detail.approval
    if approval.state == ApprovalState.PENDING:
        missing = approval.quorum - detail.approvals_given
        people = "person" if missing == 1 else "people"
        return f"It takes {missing} more {people} to approve before it is done."
    if approval.state == ApprovalState.APPROVED:
        return _after_approval(approval, step)
    if approval.state == ApprovalState.SUPERSEDED:
        return "What was said about it binds nothing."
    if approval.next:
        word, meaning = CHOICES[Next(approval.next)]
        return f"It was not done. {word}: {meaning}"
    return "It was not done."


def _after_approval(approval: Approval, step: Step | None) -> str:
    if not approval.consumed_at:
        return "The run goes on by itself, with exactly this call and once."
    became = {
        StepState.SUCCEEDED: "it is done",
        StepState.FAILED: "it failed",
        StepState.REFUSED: "the tool's own rules refused it",
        StepState.UNKNOWN: "nobody knows yet whether it happened",
    }.get(StepState(step.state) if step else StepState.STARTED, "it is under way")
    return f"The approval was used by its one call at {approval.consumed_at:%H:%M:%S} UTC: {became}."
