"""One approval as its page shows it, and the page states in which a decision did not count."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import Q, Sum

from approvals import queries
from approvals.forms import PRESETS, DecisionForm, needs_a_tick
from approvals.models import Approval
from approvals.queue import QueueFilter, next_for
from approvals.refusals import ApprovalError, Changed, ExpiredAlready
from approvals.states import Verdict
from approvals.words import CHOICES, THEN, UNDO, asked_of
from runs.agent import SCRIPTED
from runs.gate import Next
from runs.models import Step
from runs.pages import spans
from tools.effects import Reversibility
from tools.preview import label_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_TELLS_SOURCE = ("source", "title", "document", "id")
_TELLS_TEXT = ("text", "quote", "says", "content")


@dataclass(frozen=True)
class Conflict:
    """Why a decision that was sent did not count; what was typed is kept beside it."""

    code: str
    sentence: str
    instead: str = ""  # the id of the request that stands now
    verdict: str = ""
    reason: str = ""

    @classmethod
    def of(cls, refusal: ApprovalError, form: DecisionForm) -> Conflict:
        instead = refusal.approval_id if isinstance(refusal, Changed) else ""
        code = "expired" if isinstance(refusal, ExpiredAlready) else refusal.code
        verdict, reason = form.data.get("verdict", ""), form.data.get("reason", "")
        return cls(code, str(refusal), instead, str(verdict), str(reason))


@dataclass(frozen=True)
class Proposer:
    """Whose words the reasoning is: an agent's, or what the run's workflow passed on."""

    name: str
    model: str
    kind: str = "agent"

    @property
    def scripted(self) -> bool:
        """Whether a script wrote it and no model was asked."""
        return self.model.split(":")[0] == SCRIPTED


@dataclass(frozen=True)
class Cited:
    """One piece of evidence: where it is from, and what it says there."""

    source: str
    text: str


def context_of(
    detail: queries.Detail, viewer: User, form: DecisionForm, wanted: QueueFilter
) -> dict[str, Any]:
    """Everything the detail needs, the same beside the queue and on its own page."""
    approval = detail.approval
    steps = list(Step.objects.filter(run=approval.run_id).filter(Q(kind="agent") | Q(pk=approval.step_id)))
    step = next((step for step in steps if step.pk == approval.step_id), None)
    waits = detail.can_decide or (not detail.own and detail.approval.is_pending)
    return {
        "detail": detail,
        "approval": approval,
        "form": form,
        "wanted": wanted,
        "left": spans.left(detail.seconds_left),
        "urgent": detail.seconds_left < 3600,
        "who": asked_of(approval),
        "then": THEN[Next(approval.on_expiry)],
        "undo": UNDO[Reversibility(approval.reversibility)],
        "choices": [(kind.value, word, meaning) for kind, (word, meaning) in CHOICES.items()],
        "presets": PRESETS,
        "needs_a_tick": needs_a_tick(approval),
        "found": [
            Cited(e.get("source", ""), e.get("text", "")) for e in approval.preview.get("evidence", [])
        ],
        "cited": [_cited(item) for item in approval.evidence],
        "failed_checks": [check for check in _shown(approval, "checks") if check.get("ok") is not True],
        "passed_checks": [check for check in _shown(approval, "checks") if check.get("ok") is True],
        "arguments": [(label_of(name), value) for name, value in approval.arguments.items()],
        "changed": _changed(approval, detail.superseded),
        "proposer": _proposer(approval, steps),
        "cost": _cost(approval),
        "step": step,
        "technical": viewer.has_perm("runs.view_technical"),
        "may_see_run": viewer.has_perm("runs.view_run"),
        "in_hand": waits,
        "next_up": None if detail.can_decide else next_for(viewer, wanted),
        "approved_it": detail.own is not None and detail.own.verdict == Verdict.APPROVE,
        "chosen_words": CHOICES[Next(approval.next)] if approval.next else None,
    }


def _shown(approval: Approval, part: str) -> list[dict[str, Any]]:
    """A part of what the tool shows of the call."""
    found: list[dict[str, Any]] = approval.preview.get(part, [])
    return found


def _cited(item: Any) -> Cited:
    """What a proposer cites, in whatever form it came."""
    if not isinstance(item, dict):
        return Cited("", str(item))
    source = next((str(item[name]) for name in _TELLS_SOURCE if item.get(name)), "")
    text = next((str(item[name]) for name in _TELLS_TEXT if item.get(name)), "")
    if not text:
        text = "; ".join(f"{label_of(name)}: {value}" for name, value in item.items())
    return Cited(source, text)


def _changed(approval: Approval, earlier: Approval | None) -> list[tuple[str, Any, Any]]:
    """The arguments that are others than in the request whose place this one took: before and after."""
    if earlier is None:
        return []
    names = sorted({*earlier.arguments, *approval.arguments})
    pairs = [(name, earlier.arguments.get(name, ""), approval.arguments.get(name, "")) for name in names]
    return [(label_of(name), before, after) for name, before, after in pairs if before != after]


def _proposer(approval: Approval, steps: list[Step]) -> Proposer:
    if approval.agent:
        return Proposer(f"agent {approval.agent} {approval.agent_version}".strip(), approval.model)
    # The workflow passed the words on: the last agent that answered before is the likely writer.
    agents = [step for step in steps if step.kind == "agent" and step.started_at <= approval.created_at]
    if not agents:
        return Proposer(f"workflow {approval.workflow}", "", kind="workflow")
    last = max(agents, key=lambda step: step.position)
    return Proposer(f"agent {last.name}, passed on by workflow {approval.workflow}", last.model)


def _cost(approval: Approval) -> Decimal | None:
    spent: Decimal | None = Step.objects.filter(run=approval.run_id).aggregate(sum=Sum("cost"))["sum"]
    return spent
