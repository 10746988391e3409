"""The verbs on approvals: each is one transaction with row, history and journal, and the run woken after it.

Locks are taken in the order run, approval. Only the database's clock decides what is in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from django.db.models import Model, QuerySet

from approvals import authority
from approvals.models import Approval, Decision
from approvals.policy import Requirement
from approvals.refusals import (
    AlreadyDecided,
    Changed,
    ExpiredAlready,
    NotAllowed,
    NotFound,
    Unclear,
    outcome_of,
)
from approvals.requests import new_request
from approvals.states import ApprovalState, ReasonCode, Verdict
from runs import actors
from runs.clock import db_now
from runs.gate import Next, ProposedCall
from runs.journal import Entry
from runs.models import Run
from runs.services import append_entries, lock_run, wake
from runs.turns.checkpoint import Write, own_transaction, put
from runs.turns.columns import HISTORY_STAMP, history_values, kept_columns, values_of
from runs.turns.lookup import Lookup
from tools.canonical import new_id, normalise
from tools.contract import Preview

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MAX_REASON = 4000
Word = TypeVar("Word", Verdict, ReasonCode, Next)

__all__ = [
    "AlreadyDecided",
    "Changed",
    "ExpiredAlready",
    "NotAllowed",
    "NotFound",
    "DECISIONS",
    "Unclear",
    "changed",
    "decide",
    "expire",
    "no_longer_asked",
    "open_approval",
    "purge",
    "supersede",
    "withdraw",
]


def decide(
    approval_id: str,
    *,
    by: User,
    verdict: Verdict | str,
    digest: str,
    reason: str = "",
    reason_code: ReasonCode | str = "",
    next: Next | str | None = None,
    client: str = "",
) -> Decision:
    """What `by` says about the approval whose `digest` they were shown: on record, and the run goes on.

    A no needs a reason or a code, and says what happens `next` (``stop`` unless given). `client` names the
    door, such as ``page``. Saying the same twice gives the same Decision back.

    Raises NotFound, NotAllowed, Unclear, AlreadyDecided, ExpiredAlready and Changed; then nothing changed.
    """
    said = _Said.read(verdict, reason, reason_code, next)
    actor = actors.user(by.get_username())
    with own_transaction(), actors.acting_as(actor):
        run, approval = _locked(approval_id)
        authority.must_be_allowed(approval, by)
        before = DECISIONS(approval.pk)
        for earlier in before:
            if earlier.by_id == by.pk:
                return _same_again(approval, earlier, said)
        now = db_now()
        _must_be_open(approval, digest, now)
        decision = said.decision(approval, by=by, actor=actor, at=now, client=client)
        entry, writes = _count(approval, [*before, decision])
        if approval.is_pending:
            put(writes)
            append_entries(run, [entry], actor=actor)
        else:
            wake(run, [entry], actor=actor, at=now, also=writes)
    return decision


def expire(approval_id: str) -> bool:
    """Note that nobody decided in time, and let the run go on with that.

    False when there is nothing to note: it has ended, or its time has not come. Raises NotFound.
    """
    with own_transaction():
        run, approval = _locked(approval_id)
        now = db_now()
        if not approval.is_pending or now < approval.expires_at:
            return False
        approval.expire()
        said = f"Nobody decided by {approval.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        rows = _end(approval, at=now, by=actors.current(), reason=said, next=Next(approval.on_expiry))
        content = {"next": approval.on_expiry, "expires_at": approval.expires_at.isoformat()}
        entry = _entry(approval, "expired", f"{said}: {approval.title}", content)
        wake(run, [entry], at=now, also=rows)
    return True


# Inside the transaction of the engine, which has locked the run and appends what is returned.


def open_approval(call: ProposedCall, requirement: Requirement, preview: Preview) -> list[Entry]:
    """Ask people about `call`. A request for exactly this call that stands already is left as it is.

    A request for another form of the call at this step is superseded. Returns the entries for the journal.
    """
    new = new_request(call, requirement, preview, opened_at=db_now())
    standing = Approval.objects.select_for_update().filter(
        run=call.run_id,
        step_id=call.step_id,
        state__in=[ApprovalState.PENDING, ApprovalState.APPROVED],
        consumed_by_key="",  # a yes that was used up stays what it was
    )
    olds = list(standing)
    if any(old.digest == new.digest for old in olds):
        return []
    entries = [supersede(old, by=new) for old in olds]
    new.save(force_insert=True)
    who = f"{new.group.name}" if new.group else "somebody"
    many = f", {new.quorum} people," if new.quorum > 1 else ""
    content = {
        "expires_at": new.expires_at.isoformat(),
        "on_expiry": new.on_expiry,
        "quorum": new.quorum,
        "group": new.group.name if new.group else "",
        "because": new.because,
    }
    return [*entries, _entry(new, "requested", f"Asks {who}{many} to decide: {new.title}", content)]


def supersede(approval: Approval, *, by: Approval | None) -> Entry:
    """What was asked is not what would be done now; `by` is the request that takes its place, if any."""
    approval.supersede()
    reason = "What would be done has changed" if by else "The policy no longer asks for a decision"
    if by is not None:
        approval.superseded_by_id = by.pk
    approval.effective_at = None
    further = ("superseded_by_id", "effective_at")
    put(_end(approval, *further, at=db_now(), by=actors.current(), reason=reason, next=None))
    content = {"superseded_by": by.pk if by else None}
    return _entry(approval, "superseded", f"{reason}: {approval.title}", content)


def no_longer_asked(approval: Approval) -> None:
    """The policies changed and nobody need decide: on record in the journal of the run, which is locked."""
    append_entries(lock_run(approval.run_id), [supersede(approval, by=None)], actor=actors.current())


def withdraw(run_id: str, reason: str, *, step_id: str = "") -> list[Entry]:
    """Nobody needs to decide the open requests of the run, or of its step `step_id` alone, any more.

    Returns the entries for its journal.
    """
    entries = []
    asked = Approval.objects.pending().select_for_update().filter(run_id=run_id)
    asked = asked.filter(step_id=step_id) if step_id else asked
    for approval in asked.order_by("id"):
        approval.withdraw()
        put(_end(approval, at=db_now(), by=actors.current(), reason=reason, next=None))
        said = f"Withdrawn, {reason}: {approval.title}"
        entries.append(_entry(approval, "withdrawn", said, {"reason": reason}))
    return entries


def purge(run_id: str) -> int:
    """The contents of an ended run are due: forget what its requests showed; how many there were.

    Who decided what, when and why stays, and so does the digest of what they saw.
    """
    emptied: dict[str, object] = {"arguments": {}, "preview": {}, "evidence": [], "facts": {}, "why": ""}
    return Approval.objects.filter(run_id=run_id).update(**emptied)


# Inside


class _Said:
    """A verdict that is complete and in our own words."""

    def __init__(self, verdict: Verdict, reason: str, code: ReasonCode | None, next: Next | None) -> None:
        self.verdict, self.reason, self.code, self.next = verdict, reason, code, next

    @classmethod
    def read(cls, verdict: str, reason: str, reason_code: str, next: str | None) -> _Said:
        """Raises Unclear for unknown words, a no without a reason and a reason that is too long."""
        given = _word(Verdict, verdict, "verdict")
        text = str(normalise(reason)).strip()
        if len(text) > MAX_REASON:
            too_long = f"The reason has {len(text)} characters; shorten it to {MAX_REASON}."
            raise Unclear(too_long, field="reason")
        if given is Verdict.APPROVE:
            return cls(given, text, None, None)
        code = _word(ReasonCode, reason_code, "reason_code") if reason_code else None
        if not text and code in (None, ReasonCode.OTHER):
            raise Unclear("Say why: pick a reason or write one, for whoever must act on it.", field="reason")
        return cls(given, text, code, _word(Next, next or Next.STOP, "next"))

    def decision(self, approval: Approval, *, by: User, actor: str, at: datetime, client: str) -> Decision:
        return Decision(
            id=new_id("dec"),
            approval=approval,
            by=by,
            actor=actor,
            verdict=self.verdict.value,
            reason=self.reason,
            reason_code=self.code.value if self.code else "",
            next=self.next.value if self.next else "",
            digest=approval.digest,
            client=client[:200],
            seconds=max(0, int((at - approval.created_at).total_seconds())),
            created_at=at,
        )


def _word(kind: type[Word], word: str, field: str) -> Word:
    try:
        return kind(word)
    except ValueError:
        raise Unclear(f"{word!r} is none of {', '.join(kind)}.", field=field) from None


def _locked(approval_id: str) -> tuple[Run, Approval]:
    """The run and the approval, locked in this order. Raises NotFound."""
    run, approval = _RUN_OF.first(approval_id), _LOCKED.first(approval_id)
    if run is None or approval is None:
        raise NotFound(f"There is no approval {approval_id}; check the id, or look for it in the queue.")
    approval.run = run
    return run, approval


def _run_of(approval_id: str) -> QuerySet[Run]:
    asked = Approval.objects.filter(pk=approval_id).values("run_id").order_by()
    return Run.objects.select_for_update().filter(pk__in=asked).order_by()


_RUN_OF = Lookup(_run_of)
_LOCKED = Lookup(lambda approval_id: Approval.objects.select_for_update().filter(pk=approval_id).order_by())
#: What people have said about an approval, the first word first.
DECISIONS = Lookup(
    lambda approval_id: Decision.objects.filter(approval_id=approval_id).order_by("created_at")
)


def _same_again(approval: Approval, earlier: Decision, said: _Said) -> Decision:
    if earlier.verdict == said.verdict:
        return earlier
    word = "approved" if earlier.verdict == Verdict.APPROVE else "rejected"
    raise AlreadyDecided(
        f"You have already {word} this, and a decision stays as it was made: this one was not recorded.",
        outcome=outcome_of(approval),
    )


def _must_be_open(approval: Approval, digest: str, now: datetime) -> None:
    outcome = outcome_of(approval)
    if outcome.state is ApprovalState.EXPIRED or (approval.is_pending and now >= approval.expires_at):
        raise ExpiredAlready(
            f"The time to decide ended at {approval.expires_at:%Y-%m-%d %H:%M:%S} UTC, so this was not "
            "recorded; the run goes on by the rule for that.",
            outcome=outcome,
        )
    if outcome.state is ApprovalState.SUPERSEDED and approval.superseded_by_id:
        raise Changed(
            "What would be done has changed, so this was not recorded; look at the new request.",
            approval_id=approval.superseded_by_id,
        )
    if not approval.is_pending:
        raise AlreadyDecided(
            f"{outcome.sentence} What you said was not recorded; go on with the next one.", outcome=outcome
        )
    if digest != approval.digest:
        raise Changed(
            "This is not what you were shown, so it was not recorded; look at it again, then decide.",
            approval_id=approval.pk,
        )


def _count(approval: Approval, decisions: list[Decision]) -> tuple[Entry, list[Write]]:
    """Count the last of `decisions` and end the approval when that is enough: the entry that says so, and the
    rows to write.
    """
    decision, now = decisions[-1], decisions[-1].created_at
    rows = [Write(Decision, _DECISION, inserts=[values_of(decision, _DECISION)])]
    if decision.verdict == Verdict.REJECT:
        approval.reject()
        why, then = reason_of(decision), Next(decision.next)
        rows += _end(approval, at=now, by=decision.actor, reason=why, next=then)
        return _decision_entry(approval, decision, "rejected"), rows
    given = sum(each.verdict == Verdict.APPROVE for each in decisions)
    if given < approval.quorum:
        return _decision_entry(approval, decision, "counted", f" ({given} of {approval.quorum})"), rows
    approval.approve()
    approval.effective_at = now
    rows += _end(approval, "effective_at", at=now, by=decision.actor, reason=decision.reason, next=None)
    return _decision_entry(approval, decision, "approved"), rows


_END = ("state", "decided_at", "decided_by", "reason", "next")
_DECISION = tuple(str(field.column) for field in Decision._meta.concrete_fields)
_KEPT = kept_columns(Approval)
_HISTORY: type[Model] = Approval.history.model


def changed(approval: Approval, *columns: str, at: datetime, why: str) -> list[Write]:
    """The changed `columns` of `approval`, which the caller has locked, and a row of its history that says
    when and why: to be written.
    """
    kept = history_values(approval, _KEPT, kind="~", actor=actors.current(), at=at, reason=why)
    return [
        Write(Approval, columns, updates=[(approval.pk, *values_of(approval, columns))]),
        Write(_HISTORY, (*_KEPT, *HISTORY_STAMP), inserts=[kept]),
    ]


def _end(
    approval: Approval, *columns: str, at: datetime, by: str, reason: str, next: Next | None
) -> list[Write]:
    """Note on `approval`, after its transition, how it ended; what to write, with further `columns`."""
    approval.end(at=at, by=by, reason=reason, next=next)
    return changed(approval, *_END, *columns, at=at, why=reason)


def reason_of(decision: Decision) -> str:
    """A person's reason as one text: the code's words, what they wrote, or both."""
    code = ReasonCode(decision.reason_code) if decision.reason_code else None
    if code in (None, ReasonCode.OTHER) or not decision.reason:
        return decision.reason or (code.label if code else "")
    return f"{code.label}: {decision.reason}" if code else decision.reason


def _decision_entry(approval: Approval, decision: Decision, kind: str, remark: str = "") -> Entry:
    verb = "approved" if decision.verdict == Verdict.APPROVE else "rejected"
    who, why = actors.plain_name(decision.actor), reason_of(decision)
    sentence = f"{who} {verb}{remark}: {approval.title}" + (f" ({why})" if why else "")
    content = {
        "decision": decision.pk,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "reason_code": decision.reason_code,
        "next": decision.next,
        "client": decision.client,
    }
    return _entry(approval, kind, sentence, content)


def _entry(approval: Approval, kind: str, sentence: str, content: Mapping[str, object]) -> Entry:
    common = {
        "approval": approval.pk,
        "digest": approval.digest,
        "policy": approval.policy,
        "tool": approval.tool,
    }
    return Entry(f"approval.{kind}", sentence, normalise({**common, **content}), approval.step_id)
