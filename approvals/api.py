"""Approvals over HTTP: to list and show them, and to decide one. Only a person who is signed in decides."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from django.urls import path, reverse
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from approvals import queries, services
from approvals.forms import needs_a_tick
from approvals.models import Approval, Decision
from approvals.refusals import (
    AlreadyDecided,
    ApprovalError,
    Changed,
    ExpiredAlready,
    NotAllowed,
    NotFound,
    Outcome,
    Unclear,
    outcome_of,
)
from approvals.states import ApprovalState, ReasonCode, Verdict
from approvals.urls import ApprovalId as ApprovalId  # registers the converter
from approvals.words import asked_of
from runs.api import problems
from runs.api.answers import TECHNICAL, FromRow
from runs.api.bodies import MAX_REASON, Body, Page, read_body, read_query
from runs.api.callers import Need, person_of, sees_technical
from runs.api.door import Door, answer, operation
from runs.api.kept import once
from runs.api.pages import Listed, keyset, next_page
from runs.api.problems import Place, problem
from runs.gate import Next
from runs.models import Token
from runs.scopes import APPROVALS_READ
from runs.states import look_of

SEE = Need("approvals.view_approval", APPROVALS_READ)


class ApprovalsWanted(Page):
    """Which approvals; newest first."""

    state: ApprovalState | None = Field(
        default=ApprovalState.PENDING, description="Only those in this state; pending if nothing is said."
    )
    view: Literal["mine", "all"] = Field(
        default="all", description="mine: those that you may decide and have not decided yet."
    )
    run: str = Field(default="", max_length=32, description="Only those of this run.")


class Verdicts(Body):
    """What a person says about exactly what they were shown."""

    verdict: Verdict
    digest: str = Field(
        min_length=64, max_length=64, pattern="^[0-9a-f]{64}$", description="The digest of what was shown."
    )
    checked: bool = Field(
        default=False, description="That you checked it: must be true to approve where `needs_check` is."
    )
    reason: str = Field(default="", max_length=MAX_REASON, description="Why; a no needs it, or a code.")
    reason_code: ReasonCode | None = None
    next: Next | None = Field(default=None, description="After a no: what happens then; stop if left out.")


class DecisionOut(FromRow):
    """What one person said."""

    id: str
    approval: str
    actor: str
    verdict: str
    reason: str
    reason_code: str
    next: str
    digest: str
    created_at: datetime

    @classmethod
    def of(cls, decision: Decision) -> DecisionOut:
        """`decision` as it stands for ever."""
        return cls.read(decision, approval=decision.approval_id)


class ApprovalOut(FromRow):
    """A request that people decide, and what became of it."""

    id: str
    url: str = Field(description="Its own address.")
    page: str = Field(description="The address of its page, for people.")
    run: str
    step: str
    state: str
    state_word: str
    title: str = Field(description="What would be done, in one sentence.")
    workflow: str
    tool: str
    effect: str
    risk: str
    reversibility: str
    policy: str = Field(description="The policy that asks, and its version.")
    because: str = Field(description="Why a person is asked.")
    asked: str = Field(description="Who is asked.")
    quorum: int
    requester: str
    digest: str = Field(description="Binds a decision to exactly this: send it back with the decision.")
    needs_check: bool = Field(description="Approving takes `checked: true`.")
    created_at: datetime
    expires_at: datetime
    on_expiry: str = Field(description="What happens if nobody decides in time.")
    decided_at: datetime | None
    decided_by: str
    reason: str
    next: str
    superseded_by: str

    @classmethod
    def of(cls, approval: Approval, *, technical: bool = False, **more: Any) -> Self:
        """`approval`, with arguments and facts where `technical`; `more` is what a list does not show."""
        return cls.read(
            approval,
            technical=technical,
            url=reverse("approvals_api:approval", args=[approval.pk]),
            page=reverse("approvals:approval", args=[approval.pk]),
            run=approval.run_id,
            step=approval.step_id,
            state_word=look_of(approval.state).word,
            asked=asked_of(approval),
            needs_check=needs_a_tick(approval),
            superseded_by=approval.superseded_by_id or "",
            **more,
        )


class ApprovalDetail(ApprovalOut):
    """One approval with what a person needs to decide it."""

    preview: Any = Field(description="What would change, on what evidence, and what was checked.")
    evidence: list[Any] = Field(description="What the proposer cites.")
    why: str = Field(description="The proposer's reasons, unverified.")
    rollback: str = Field(description="How to undo it afterwards.")
    agent: str
    model: str
    confidence: float | None
    decisions: list[DecisionOut]
    objection: str = Field(description="Why you may not decide it; empty when you may.")
    can_decide: bool
    arguments: Any = Field(
        default=None, description=f"{TECHNICAL}, and for people who decide without a preview."
    )
    facts: Any = Field(default=None, description=f"{TECHNICAL}.")


class Approvals(Door):
    """Approvals."""

    needs = {"GET": SEE}

    @operation(
        "list_approvals", "List approvals", Listed[ApprovalOut], query=ApprovalsWanted, tag="approvals"
    )
    def get(self, request: Request) -> Response:
        """The approvals that fit, newest first."""
        wanted = read_query(request, ApprovalsWanted)
        rows = Approval.objects.select_related("group")
        if wanted.view == "mine":
            rows = rows.filter(pk__in=queries.queue_for(request.user).order_by().values("pk"))
        if wanted.state:
            rows = rows.filter(state=wanted.state)
        if wanted.run:
            rows = rows.filter(run_id=wanted.run)
        shown, cursor = keyset(
            rows, ("created_at", "id"), cursor=wanted.cursor, limit=wanted.limit, descending=True
        )
        items = [ApprovalOut.of(approval) for approval in shown]
        return answer(Listed[ApprovalOut](items=items, next=next_page(request, cursor=cursor)))


class OneApproval(Door):
    """One approval."""

    needs = {"GET": SEE}

    @operation("show_approval", "Show an approval", ApprovalDetail, refuses=[404], tag="approvals")
    def get(self, request: Request, approval_id: str) -> Response:
        """The approval as it stands, with what the caller may know of it."""
        return answer(_detail(queries.detail(approval_id, request.user), request))


def _detail(found: queries.Detail, request: Request) -> ApprovalDetail:
    approval, is_token = found.approval, isinstance(request.auth, Token)
    shown = ApprovalDetail.of(
        approval,
        technical=sees_technical(request),
        decisions=[DecisionOut.of(decision) for decision in found.decisions],
        objection="No token may decide." if is_token else found.objection,
        can_decide=found.can_decide and not is_token,
    )
    if shown.can_decide and not approval.preview.get("changes"):
        shown.arguments = approval.arguments
    return shown


class Decisions(Door):
    """Decisions about an approval."""

    needs = {"POST": Need("approvals.decide_approval")}

    @operation(
        "decide",
        "Decide an approval",
        DecisionOut,
        status=201,
        takes=Verdicts,
        refuses=[404],
        example={
            "verdict": "reject",
            "digest": "0" * 64,
            "reason": "The parcel was delivered",
            "next": "send_back",
        },
        tag="approvals",
    )
    def post(self, request: Request, approval_id: str) -> Response:
        """Decides for the person who is signed in: no token can. It counts only for the digest that stands;
        saying the same again gives the first decision back.
        """
        body = read_body(request, Verdicts)
        return once(request, lambda: self._decide(request, approval_id, body))

    def _decide(self, request: Request, approval_id: str, body: Verdicts) -> Response:
        if body.verdict is Verdict.APPROVE and not body.checked:
            _must_not_need_a_tick(approval_id)
        decision = services.decide(
            approval_id,
            by=person_of(request),
            verdict=body.verdict,
            digest=body.digest,
            reason=body.reason,
            reason_code=body.reason_code or "",
            next=body.next,
            client="api",
        )
        return answer(DecisionOut.of(decision), 201)


def _must_not_need_a_tick(approval_id: str) -> None:
    approval = Approval.objects.filter(pk=approval_id, state=ApprovalState.PENDING).first()
    if approval is not None and needs_a_tick(approval):
        raise Unclear(
            "Say that you checked it (checked: true): this is not approved at a glance.", field="checked"
        )


# Refusals


def _ended(outcome: Outcome) -> dict[str, Any]:
    return {"state": outcome.state.value, "changed_by": outcome.by, "changed_at": outcome.at}


def _conflict(error: AlreadyDecided | ExpiredAlready, view: Any) -> Response:
    return problem(409, "conflict", str(error), **_ended(error.outcome))


def _changed(error: Changed, view: Any) -> Response:
    standing = Approval.objects.filter(pk=view.kwargs.get("approval_id")).first()
    state = _ended(outcome_of(standing)) if standing else {}
    return problem(409, "conflict", str(error), instead=error.approval_id, **state)


def _unclear(error: Unclear, view: Any) -> Response:
    return problem(422, "invalid", str(error), errors=[Place(place=error.field, problem=str(error))])


problems.register(ApprovalError, lambda error, view: problem(409, "conflict", str(error)))
problems.register(AlreadyDecided, _conflict)
problems.register(ExpiredAlready, _conflict)
problems.register(Changed, _changed)
problems.register(Unclear, _unclear)
problems.register(NotAllowed, lambda error, view: problem(403, "not_allowed", str(error)))
problems.register(NotFound, lambda error, view: problem(404, "not_found", str(error)))

app_name = "approvals_api"
urlpatterns = [
    path("v1/approvals", Approvals.as_view(), name="approvals"),
    path("v1/approvals/<approval_id:approval_id>", OneApproval.as_view(), name="approval"),
    path("v1/approvals/<approval_id:approval_id>/decisions", Decisions.as_view(), name="decisions"),
]
