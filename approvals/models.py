"""Who said so: policies in versions, requests that people decide, and what each person said."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django_fsm import ConcurrentTransition, FSMField, transition
from pydantic import ValidationError as Unreadable

from approvals import policy
from approvals.policy import Conditions, Rule, Tier
from approvals.states import ApprovalState, ReasonCode, Verdict
from runs.gate import Next
from runs.history import stamped_history
from runs.models import Run
from tools.effects import Effect, Reversibility, Risk
from tools.signature import in_words
from tools.states import StateModel

# Written once when the request is opened: history is for what changes.
_APPROVAL_CONTENT = ("arguments", "preview", "evidence", "facts", "why", "rollback", "title")


# What a request names: found on the request itself, never through its history.
_NAMED = ("run", "step_id", "group", "requester_user", "superseded_by")


def _choices(words: Iterable[str]) -> list[tuple[str, str]]:
    return [(str(word), str(word).replace("_", " ").capitalize()) for word in words]


def _among(field: str, words: Iterable[str]) -> Q:
    return Q(**{f"{field}__in": [str(word) for word in words]})


class PolicyQuerySet(models.QuerySet["Policy"]):
    """Questions one asks of many policies."""

    def in_force(self) -> PolicyQuerySet:
        """The one active version of each name, in the order in which they are tried."""
        return self.filter(active=True).order_by("order", "name")


class Policy(models.Model):
    """One version of one policy. A change is a new version; this row then stays as it was."""

    name = models.SlugField(max_length=80, help_text="Stays the same through all versions.")
    version = models.PositiveIntegerField(editable=False)
    active = models.BooleanField(default=False, editable=False)
    order = models.PositiveIntegerField(default=100, help_text="The lowest is tried first.")
    purpose = models.TextField(blank=True, help_text="What it is for, in a sentence that reviewers may read.")
    conditions = models.JSONField(
        default=dict,
        blank=True,
        help_text='Such as {"tools": ["refund"], "amount": {"currency": "USD", "more_than": "100"}}.',
    )
    tier = models.CharField(max_length=10, choices=_choices(Tier), default=Tier.REVIEW)
    group = models.ForeignKey(
        Group,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="policies",
        help_text="Who may decide. Empty: everyone with the permission to decide.",
    )
    quorum = models.PositiveSmallIntegerField(default=1, help_text="How many different people must approve.")
    deadline_seconds = models.PositiveIntegerField(
        default=int(policy.DEFAULT_DEADLINE.total_seconds()), help_text="How long people have to decide."
    )
    on_expiry = models.CharField(
        max_length=10,
        choices=_choices(Next),
        default=Next.STOP,
        help_text="What happens when nobody decides in time. It never counts as an approval.",
    )
    # Filled from the conditions, so that the database itself can refuse what must never be.
    covers_irreversible = models.BooleanField(default=True, editable=False)
    declared_digest = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="Of what the code declares; empty: a person's version.",
    )
    made_by = models.CharField(max_length=160, editable=False, help_text="The actor who made this version.")
    note = models.TextField(blank=True, help_text="Why it was changed.")
    created_at = models.DateTimeField(editable=False)

    history = stamped_history()
    objects = PolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "policies"
        ordering = ["name", "-version"]
        default_permissions = ("add", "change", "view")
        constraints = [
            models.UniqueConstraint(fields=["name", "version"], name="policy_once_a_version"),
            models.UniqueConstraint(fields=["name"], condition=Q(active=True), name="policy_one_active"),
            models.CheckConstraint(
                condition=~Q(tier=Tier.AUTO.value, covers_irreversible=True),
                name="policy_irreversible_never_auto",
            ),
            models.CheckConstraint(condition=_among("tier", Tier), name="policy_tier_known"),
            models.CheckConstraint(condition=_among("on_expiry", Next), name="policy_expiry_never_approves"),
            models.CheckConstraint(
                condition=Q(quorum__gte=1, quorum__lte=policy.MAX_QUORUM), name="policy_quorum_sane"
            ),
            models.CheckConstraint(condition=Q(deadline_seconds__gte=1), name="policy_deadline_sane"),
        ]

    def __str__(self) -> str:
        return self.ref

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.covers_irreversible = Effect.IRREVERSIBLE in self._covers()
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Raise ValidationError, by field, for conditions that cannot be read and rules that must not be."""
        super().clean()
        if self.name == policy.DEFAULT_NAME:
            raise ValidationError({"name": "This is what holds where no policy applies; use another name."})
        try:
            conditions = Conditions.model_validate(self.conditions or {})
        except Unreadable as error:
            raise ValidationError({"conditions": in_words(error)}) from None
        if self.tier in list(Tier):  # any other word is told of beside its field
            found = policy.problems(Tier(self.tier), conditions, self.quorum, self.deadline_seconds)
            if found:
                raise ValidationError(found)
        self.conditions = conditions.as_json()
        self.covers_irreversible = Effect.IRREVERSIBLE in conditions.covers

    # Properties

    @property
    def ref(self) -> str:
        """How records name this version, such as ``refunds v3``."""
        return f"{self.name} v{self.version}"

    @property
    def deadline(self) -> timedelta:
        return timedelta(seconds=self.deadline_seconds)

    @property
    def from_code(self) -> bool:
        """Whether a declaration in a policies.py made this version, not a person."""
        return bool(self.declared_digest)

    @property
    def rule(self) -> Rule:
        """This version as the rules read it. What cannot be read asks a person."""
        conditions = self._readable()
        return Rule(
            name=self.name,
            version=self.version,
            tier=Tier(self.tier) if conditions is not None or self.tier == Tier.STOP else Tier.REVIEW,
            conditions=conditions,
            order=self.order,
            group_id=self.group_id,
            group=self.group.name if self.group else "",
            quorum=self.quorum,
            deadline=self.deadline,
            on_expiry=Next(self.on_expiry),
        )

    def _readable(self) -> Conditions | None:
        try:
            return Conditions.model_validate(self.conditions)
        except Unreadable:
            return None

    def _covers(self) -> tuple[Effect, ...]:
        conditions = self._readable()
        return conditions.covers if conditions else policy.CHANGES_THE_WORLD


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """Questions one asks of many approvals."""

    def pending(self) -> ApprovalQuerySet:
        """Those that somebody must decide."""
        return self.filter(state=ApprovalState.PENDING)


class Approval(StateModel):
    """A request that people decide about one exact call, and what became of it."""

    id = models.CharField(primary_key=True, max_length=32)
    run = models.ForeignKey(
        Run, models.PROTECT, related_name="approvals", db_constraint=False, db_index=False
    )
    step_id = models.CharField(max_length=32)
    path = models.CharField(max_length=200, help_text="The step's place in the run.")
    state = FSMField(
        default=ApprovalState.PENDING, protected=True, choices=[(s.value, s.value) for s in ApprovalState]
    )

    # What would be done: exactly what the reviewer sees.
    title = models.CharField(max_length=600, help_text="The call in one sentence.")
    workflow = models.CharField(max_length=100)
    tool = models.CharField(max_length=64)
    tool_version = models.PositiveIntegerField()
    effect = models.CharField(max_length=12, choices=_choices(Effect))
    risk = models.CharField(max_length=8, choices=_choices(Risk))
    reversibility = models.CharField(max_length=8, choices=_choices(Reversibility))
    rollback = models.TextField(blank=True, help_text="How to undo it afterwards, in words.")
    arguments = models.JSONField()
    preview = models.JSONField(help_text="Changes, evidence and checks, as the tool shows them.")
    evidence = models.JSONField(default=list, help_text="What the proposer cites.")
    why = models.TextField(blank=True, help_text="The proposer's reasons, unverified.")
    agent = models.CharField(max_length=120, blank=True)
    agent_version = models.CharField(max_length=80, blank=True)
    model = models.CharField(max_length=120, blank=True)
    confidence = models.FloatField(null=True)
    facts = models.JSONField(default=dict)
    requester = models.CharField(max_length=160, help_text="The actor for whom it is done, such as user:ana.")
    # By row as well as by name, so that a renamed user is still the requester.
    requester_user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="requested_approvals",
        db_index=False,
    )

    # By which rule, and who must decide by when.
    policy_name = models.CharField(max_length=80)
    policy_version = models.PositiveIntegerField()
    because = models.TextField(blank=True, help_text="Why a person is asked, in words.")
    group = models.ForeignKey(Group, models.PROTECT, null=True, related_name="approvals", db_index=False)
    quorum = models.PositiveSmallIntegerField(default=1)
    digest = models.CharField(max_length=64, help_text="Binds every decision to exactly this.")
    key = models.CharField(max_length=64, help_text="The call's idempotency key.")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    on_expiry = models.CharField(max_length=10, choices=_choices(Next), default=Next.STOP)

    # What became of it; for every end, not only a person's.
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=160, blank=True, help_text="The actor who ended it.")
    reason = models.TextField(blank=True)
    next = models.CharField(max_length=10, choices=_choices(Next), blank=True)
    effective_at = models.DateTimeField(null=True, help_text="From when an approval may be used.")
    consumed_by_key = models.CharField(max_length=64, blank=True, help_text="The one call that used it.")
    consumed_at = models.DateTimeField(null=True)
    superseded_by = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="supersedes", db_index=False
    )

    history = stamped_history(*_APPROVAL_CONTENT, unindexed=_NAMED)
    objects = ApprovalQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        permissions = [("decide_approval", "Can decide approvals")]
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["expires_at", "id"], name="approval_due", condition=Q(state="pending")),
            models.Index(fields=["-created_at"], name="approval_newest"),
            models.Index(fields=["run", "step_id"], name="approval_of_step"),
            # Only rows that name somebody: most requests name no group, and few are superseded.
            models.Index(fields=["group"], name="approval_of_group", condition=Q(group__isnull=False)),
            models.Index(
                fields=["requester_user"],
                name="approval_of_requester",
                condition=Q(requester_user__isnull=False),
            ),
            models.Index(
                fields=["superseded_by"],
                name="approval_superseded",
                condition=Q(superseded_by__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["step_id"], condition=Q(state="pending"), name="approval_one_pending_a_step"
            ),
            models.CheckConstraint(
                condition=_among("on_expiry", Next), name="approval_expiry_never_approves"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", decided_at=None)
                | ~Q(state="pending") & Q(decided_at__isnull=False),
                name="approval_ended_has_a_time",
            ),
            models.CheckConstraint(
                condition=Q(consumed_at=None, consumed_by_key="")
                | Q(state="approved", consumed_by_key=F("key")),
                name="approval_used_once_approved",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.title})"

    # Transitions: they decide; who calls them persists the row, its history and the journal together.

    @transition(field=state, source=ApprovalState.PENDING, target=ApprovalState.APPROVED)
    def approve(self) -> None:
        """Enough people said yes."""

    @transition(field=state, source=ApprovalState.PENDING, target=ApprovalState.REJECTED)
    def reject(self) -> None:
        """A person said no."""

    @transition(field=state, source=ApprovalState.PENDING, target=ApprovalState.EXPIRED)
    def expire(self) -> None:
        """Nobody decided in time."""

    @transition(field=state, source=ApprovalState.PENDING, target=ApprovalState.WITHDRAWN)
    def withdraw(self) -> None:
        """Nobody needs to decide any more."""

    @transition(
        field=state, source=[ApprovalState.PENDING, ApprovalState.APPROVED], target=ApprovalState.SUPERSEDED
    )
    def supersede(self) -> None:
        """What would be done has changed, so what was said about it binds nothing."""

    # Compare and set: a row that moved on since it was read is not written.

    @classmethod
    def from_db(
        cls, db: str | None, field_names: Collection[str], values: Collection[Any], **kwargs: Any
    ) -> Approval:
        row = super().from_db(db, field_names, values, **kwargs)
        row._state_read = row.__dict__.get("state")
        return row

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        super().refresh_from_db(using, fields, from_queryset)
        self._state_read = self.__dict__.get("state", self._state_read)

    def _do_update(self, base_qs: models.QuerySet[Approval], *args: Any, **kwargs: Any) -> Any:
        if self._state_read is not None:
            base_qs = base_qs.filter(state=self._state_read)
        updated = super()._do_update(base_qs, *args, **kwargs)
        if not updated and self._state_read is not None:
            raise ConcurrentTransition(f"{self.id} is no longer {self._state_read}; read it again.")
        self._state_read = self.state
        return updated

    _state_read: str | None = None

    # Properties

    @property
    def policy(self) -> str:
        """The policy and version that asked for it, such as ``refunds v3``."""
        return f"{self.policy_name} v{self.policy_version}"

    @property
    def is_pending(self) -> bool:
        return bool(self.state == ApprovalState.PENDING)

    def end(self, *, at: datetime, by: str, reason: str, next: Next | None) -> None:
        """Note on the row how it ended; goes with a transition and before the save."""
        self.decided_at, self.decided_by, self.reason = at, by, reason
        self.next = next.value if next else ""


class Decision(models.Model):
    """What one person said about one approval. Never changed, never deleted."""

    id = models.CharField(primary_key=True, max_length=32)
    # Both are found by the indexes below.
    approval = models.ForeignKey(Approval, models.PROTECT, related_name="decisions", db_index=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="decisions", db_index=False)
    actor = models.CharField(max_length=160, help_text="Who that was when they decided, such as user:ana.")
    verdict = models.CharField(max_length=8, choices=_choices(Verdict))
    reason = models.TextField(blank=True)
    reason_code = models.CharField(max_length=20, choices=_choices(ReasonCode), blank=True)
    next = models.CharField(max_length=10, choices=_choices(Next), blank=True)
    digest = models.CharField(max_length=64, help_text="Of what was shown when the person decided.")
    client = models.CharField(max_length=200, blank=True, help_text="The door it came through.")
    seconds = models.PositiveIntegerField(help_text="Seconds between the request and the decision.")
    created_at = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["by", "-created_at"], name="decision_by_person")]
        constraints = [
            models.UniqueConstraint(fields=["approval", "by"], name="decision_once_a_person"),
            models.CheckConstraint(condition=_among("verdict", Verdict), name="decision_verdict_known"),
            models.CheckConstraint(
                condition=Q(verdict="approve") | ~Q(reason="", reason_code=""),
                name="decision_no_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.verdict} {self.approval_id}"
