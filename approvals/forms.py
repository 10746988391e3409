"""What a reviewer sends: a verdict about exactly what was shown. Who they are, the session knows."""

from __future__ import annotations

from typing import Any

from django import forms

from approvals.models import Approval
from approvals.services import MAX_REASON
from approvals.states import ReasonCode, Verdict
from approvals.words import CHOICES
from runs.gate import Next
from tools.effects import Risk

#: From here on an approval asks for a tick.
GRAVE = (Risk.HIGH, Risk.CRITICAL)
PRESETS = [(code.value, code.label) for code in ReasonCode]


def needs_a_tick(approval: Approval) -> bool:
    """Whether approving takes a word that one has looked: much is at stake, or a check failed."""
    checks = approval.preview.get("checks", [])
    return approval.risk in GRAVE or any(check.get("ok") is not True for check in checks)


class DecisionForm(forms.Form):
    """Approve or reject; `approval` says what a complete answer is."""

    verdict = forms.ChoiceField(choices=[(verdict.value, verdict.value) for verdict in Verdict])
    digest = forms.CharField(max_length=64)
    checked = forms.BooleanField(required=False)
    reason_code = forms.ChoiceField(choices=[("", ""), *PRESETS], required=False)
    reason = forms.CharField(required=False, max_length=MAX_REASON, strip=True)
    next = forms.ChoiceField(
        choices=[("", ""), *((kind.value, words[0]) for kind, words in CHOICES.items())], required=False
    )

    def __init__(self, approval: Approval, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.approval = approval

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        approving = given.get("verdict") == Verdict.APPROVE
        if approving and needs_a_tick(self.approval) and not given.get("checked"):
            self.add_error("checked", "Tick that you checked it: this is not approved at a glance.")
        return given

    @property
    def rejecting(self) -> bool:
        """Whether the form that was sent is the one that says no."""
        return self.data.get("verdict") == Verdict.REJECT

    @property
    def chosen_next(self) -> str:
        """What the no form offers first: what was chosen, or what fits whoever proposed."""
        fits = Next.SEND_BACK if self.approval.agent or self.approval.why else Next.STOP
        return str(self.data.get("next") or fits)
