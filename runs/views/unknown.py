"""What a run's page asks about calls of which nobody knows whether they happened: what was found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms

from runs.actors import plain_name
from runs.services.record import MAX_REASON
from runs.views.answers import AnswerForm, form_for
from tools import registry
from tools.canonical import Json
from tools.models import CallState, ToolCall
from tools.unknown import Outcome


class FoundForm(forms.Form):
    """What became of the call, and how one knows."""

    outcome = forms.ChoiceField(
        choices=[
            (Outcome.HAPPENED.value, "It happened"),
            (Outcome.DID_NOT_HAPPEN.value, "It did not happen"),
        ],
        error_messages={"required": "Say whether it happened.", "invalid_choice": "Choose one of the two."},
    )
    reason = forms.CharField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Say how you know: it is kept in the run's record.",
            "max_length": "Shorten this to %(limit_value)d characters.",
        },
    )


@dataclass(frozen=True)
class Doubt:
    """One call in doubt, with the form to settle it: `returned` asks for the result that it had."""

    call: ToolCall
    form: FoundForm
    returned: AnswerForm
    problems: Sequence[str] = ()

    @property
    def happened(self) -> bool:
        """Whether the form says that it happened."""
        return bool(self.form["outcome"].value() == Outcome.HAPPENED)

    def result(self) -> Json:
        """What the call returned, as filled in; None unless it happened. Raises Misfit."""
        return self.returned.read() if self.happened else None


def doubt_about(
    call: ToolCall, given: Mapping[str, Any] | None = None, problems: Sequence[str] = ()
) -> Doubt:
    """The form for `call`, with what was `given` (a POST) filled in and what is wrong with the result."""
    try:
        schema = registry.get(call.tool).output_schema
    except registry.UnknownTool:
        schema = {}
    returned = form_for(schema, given, label="What it returned")
    return Doubt(call, FoundForm(given), returned, problems)


def nothing_to_settle(call: ToolCall) -> str:
    """Why what was sent about `call`, which is not in doubt, was not taken."""
    if not call.settled_by:
        return f"{call.tool} is {call.state}, so there is nothing to settle. Nothing was done."
    word = "it happened" if call.state == CallState.SUCCEEDED else "it did not happen"
    return f"{plain_name(call.settled_by)} was first and settled {call.tool}: {word}. Nothing was done."
