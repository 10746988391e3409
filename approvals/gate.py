"""The gate that stands before every call: policies decide who must sign, approvals whether they have."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.db.models import QuerySet

from approvals import queries, services
from approvals.digest import digest_of
from approvals.models import Approval
from approvals.policy import Requirement, Tier, decide, facts_of
from approvals.requests import preview_of
from approvals.states import ApprovalState, Verdict
from runs import gate
from runs.clock import db_now
from runs.gate import Go, Hold, Next, ProposedCall, Refuse
from runs.journal import Entry
from runs.turns.checkpoint import Write
from runs.turns.lookup import Lookup
from tools.contract import Preview

# Calls that change nothing may go by rules that are a moment old; those that do read them each time.
RULES_MAX_AGE = 1.0
_STANDING = (ApprovalState.PENDING, ApprovalState.APPROVED)
_ENDED = {
    ApprovalState.REJECTED: "rejected",
    ApprovalState.EXPIRED: "expired",
    ApprovalState.WITHDRAWN: "withdrawn",
}


@dataclass(frozen=True)
class Request:
    """What `open` needs to ask people: what they must decide by, and what they will see."""

    requirement: Requirement
    preview: Preview


class ApprovalGate:
    """Answers runs.gate.Gate."""

    def review(self, call: ProposedCall) -> gate.Verdict:
        """By policy, and where a person must decide by what they have decided about this step. Reads only."""
        requirement = _requirement(call)
        if requirement.tier is Tier.REVIEW:
            return _judge(call, requirement, _latest(call, lock=False))
        return _by_policy(requirement)

    def open(self, call: ProposedCall, hold: Hold) -> list[Entry]:
        """Open the request that `hold` carries; nothing new when it stands already."""
        request = hold.request if isinstance(hold.request, Request) else _request(call, _requirement(call))
        return services.open_approval(call, request.requirement, request.preview)

    def answer(self, call: ProposedCall) -> gate.Verdict:
        """What was decided about exactly this call; a Go carries what uses it up for ``call.key``."""
        requirement, approval = _requirement(call), _latest(call, lock=True)
        verdict = _judge(call, requirement, approval)
        if approval is None or isinstance(verdict, Hold):
            return verdict
        if isinstance(verdict, Go) and verdict.approval_id:
            return replace(verdict, uses=_used(approval, call.key))
        if not verdict.approval_id and approval.state in _STANDING and not approval.consumed_by_key:
            services.no_longer_asked(approval)
        return verdict

    def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Entry]:
        """The run or its step ended: nobody needs to decide its open requests."""
        return services.withdraw(run_id, reason, step_id=step_id)


def _requirement(call: ProposedCall) -> Requirement:
    age = 0.0 if call.tool.effect.changes_the_world else RULES_MAX_AGE
    return decide(facts_of(call), queries.rules_in_force(age))


def _request(call: ProposedCall, requirement: Requirement) -> Request:
    return Request(requirement, preview_of(call))


def _latest(call: ProposedCall, *, lock: bool) -> Approval | None:
    return (_LOCKED if lock else _LATEST).first(call.run_id, call.step_id)


def _newest_of(run_id: str, step_id: str) -> QuerySet[Approval]:
    return Approval.objects.filter(run_id=run_id, step_id=step_id).order_by("-created_at", "-id")


_LATEST = Lookup(lambda *step: _newest_of(*step)[:1])
_LOCKED = Lookup(lambda *step: _newest_of(*step).select_for_update()[:1])


def _judge(call: ProposedCall, requirement: Requirement, approval: Approval | None) -> gate.Verdict:
    """What policy and people say together. A person's no stands, whatever the policies have become since."""
    if approval is None or approval.state == ApprovalState.SUPERSEDED:
        return _by_policy(requirement, call)
    if approval.state in _ENDED:
        return _refusal(approval)
    if approval.consumed_by_key == call.key and approval.digest == digest_of(call, approval.policy):
        return _go(approval)
    if requirement.tier is not Tier.REVIEW:
        return _by_policy(requirement)
    if approval.digest != digest_of(call, requirement.policy):
        return Hold(requirement.policy, _request(call, requirement))
    if approval.is_pending or approval.effective_at is None or approval.effective_at > db_now():
        return Hold(approval.policy)
    return _go(approval) if _is_signed(approval) else _unsigned(approval)


def _by_policy(requirement: Requirement, call: ProposedCall | None = None) -> gate.Verdict:
    if requirement.tier is Tier.AUTO:
        return Go(policy=requirement.policy)
    if requirement.tier is Tier.REVIEW and call is not None:
        return Hold(requirement.policy, _request(call, requirement))
    return Refuse("policy", f"{requirement.because} It does not allow this call.")


def _refusal(approval: Approval) -> Refuse:
    return Refuse(
        kind=_ENDED[ApprovalState(approval.state)],
        reason=approval.reason,
        next=Next(approval.next) if approval.next else None,
        by=approval.decided_by,
        approval_id=approval.pk,
    )


def _go(approval: Approval) -> Go:
    return Go(policy=approval.policy, approval_id=approval.pk, by=approval.decided_by)


def _is_signed(approval: Approval) -> bool:
    """Whether the people on record are enough: a state alone is no proof that somebody decided."""
    decisions = services.DECISIONS(approval.pk)
    saw_this = [
        decision
        for decision in decisions
        if decision.verdict == Verdict.APPROVE
        and decision.digest == approval.digest
        and decision.created_at < approval.expires_at
        and decision.by_id != approval.requester_user_id
        and decision.actor != approval.requester
    ]
    return len(saw_this) == len(decisions) and len(saw_this) >= approval.quorum


def _unsigned(approval: Approval) -> Refuse:
    return Refuse(
        "policy",
        f"{approval.pk} is marked approved, but the decisions on record do not carry it; start a new run.",
        approval_id=approval.pk,
    )


def _used(approval: Approval, key: str) -> tuple[Write, ...]:
    if approval.consumed_by_key:
        return ()
    now = db_now()
    approval.consumed_by_key, approval.consumed_at = key, now
    return (*services.changed(approval, "consumed_by_key", "consumed_at", at=now, why="used by its call"),)
