"""What people and the gate ask about policies and approvals. Reads only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Case, F, FloatField, Func, Q, QuerySet, Value, When

from approvals import authority
from approvals.models import Approval, ApprovalQuerySet, Decision, Policy
from approvals.policy import Rule
from approvals.refusals import NotFound, Outcome, outcome_of
from approvals.states import ApprovalState, Verdict
from runs import actors
from runs.clock import db_now
from runs.turns.lookup import Lookup
from tools.counting import MOST
from tools.effects import Risk

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: A minute left on a critical request is as urgent as eight on a low one.
URGENCY = {Risk.LOW: 1.0, Risk.MEDIUM: 2.0, Risk.HIGH: 4.0, Risk.CRITICAL: 8.0}


class _SecondsLeft(Func):
    """Seconds until the deadline by the database's clock; negative once it is over."""

    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "((JULIANDAY(%(expressions)s) - JULIANDAY('now')) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "EXTRACT(EPOCH FROM (%(expressions)s - CLOCK_TIMESTAMP()))::float8"
        return self.as_sql(compiler, connection, template=template, **context)


# The gate's questions


@dataclass(frozen=True)
class _Read:
    """The rules as this process last read them."""

    ids: tuple[int, ...] = ()
    rules: tuple[Rule, ...] = ()
    at: float = float("-inf")


_read = _Read()
_IN_FORCE = Lookup(lambda: Policy.objects.in_force().only("pk"))
# A version never changes once it is made; what it names, such as a group, may be called otherwise.
_NAMES_MAX_AGE = 1.0


def rules_in_force(max_age: float = 0.0) -> tuple[Rule, ...]:
    """The active version of every policy, as they are tried; read at most `max_age` seconds ago."""
    global _read
    known, now = _read, time.monotonic()
    if now - known.at <= max_age:
        return known.rules
    if now - known.at <= _NAMES_MAX_AGE and tuple(row.pk for row in _IN_FORCE()) == known.ids:
        return known.rules
    rows = list(Policy.objects.in_force().select_related("group"))
    _read = _Read(tuple(row.pk for row in rows), tuple(row.rule for row in rows), now)
    return _read.rules


# People's questions


def open_approvals() -> ApprovalQuerySet:
    """Every approval that somebody must decide, most urgent first.

    First those whose time is over, then by the time left, where risk makes it shorter; each row carries
    `seconds_left` and `urgency` (the lower, the more urgent).
    """
    by_risk = [When(risk=risk.value, then=Value(weight)) for risk, weight in URGENCY.items()]
    weight = Case(*by_risk, default=Value(1.0), output_field=FloatField())
    return (
        Approval.objects.pending()
        .select_related("run", "group")
        .annotate(seconds_left=_SecondsLeft(F("expires_at")), weight=weight)
        .annotate(
            urgency=Case(
                When(seconds_left__lt=0, then=F("seconds_left") * F("weight")),
                default=F("seconds_left") / F("weight"),
                output_field=FloatField(),
            )
        )
        .order_by("urgency", "id")
    )


def workflows_that_ask() -> list[str]:
    """The workflows of the open approvals; of very many, those of the first to be due."""
    soonest = Approval.objects.pending().order_by("expires_at", "id").values_list("workflow", flat=True)
    return sorted(set(soonest[:MOST]))


def queue_for(person: User | AnonymousUser) -> ApprovalQuerySet:
    """The open approvals that `person` may decide and has not yet decided, most urgent first.

    The number on the badge counts these. The same rule as ``authority.objection``.
    """
    if not person.is_active or not person.has_perm(authority.DECIDE):
        return open_approvals().none()
    actor = actors.user(person.get_username())
    mine = Q(requester=actor) | Q(run__requester=actor) | Q(requester_user=person.pk)
    groups = person.groups.values("pk")
    return (
        open_approvals()
        .filter(Q(group=None) | Q(group__in=groups))
        .exclude(mine)
        .exclude(decisions__by=person.pk)
    )


def decided_by(person: User) -> QuerySet[Decision]:
    """What `person` has decided, newest first, each with its approval and run."""
    return Decision.objects.filter(by=person).select_related("approval__run", "approval__group")


@dataclass(frozen=True)
class Detail:
    """Everything a page needs to show one approval to one reader."""

    approval: Approval
    outcome: Outcome
    decisions: list[Decision]
    history: list[Any]  # rows of the approval's history, oldest first, each with actor and reason
    objection: str  # why this reader may not decide it; empty when they may
    own: Decision | None  # what this reader has already said
    seconds_left: float
    superseded: Approval | None  # the request whose place this one took

    @property
    def approvals_given(self) -> int:
        """How many people have said yes, of `approval.quorum`."""
        return sum(decision.verdict == Verdict.APPROVE for decision in self.decisions)

    @property
    def can_decide(self) -> bool:
        """Whether this reader should be offered the buttons."""
        open_now = self.outcome.state is ApprovalState.PENDING and self.seconds_left > 0
        return open_now and not self.objection and self.own is None


def detail(approval_id: str, person: User | AnonymousUser) -> Detail:
    """One approval as `person` sees it. Raises NotFound."""
    approval = Approval.objects.select_related("run", "group", "superseded_by").filter(pk=approval_id).first()
    if approval is None:
        raise NotFound(f"There is no approval {approval_id}; check the id, or look for it in the queue.")
    decisions = list(approval.decisions.select_related("by").order_by("created_at", "id"))
    return Detail(
        approval=approval,
        outcome=outcome_of(approval),
        decisions=decisions,
        history=list(approval.history.order_by("history_date", "history_id")),
        objection=authority.objection(approval, person),
        own=next((decision for decision in decisions if decision.by_id == person.pk), None),
        seconds_left=(approval.expires_at - db_now()).total_seconds(),
        superseded=approval.supersedes.order_by("-created_at").first(),
    )
