"""What pages ask about calls of which nobody knows whether they happened: what was found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms

from runs import services
from runs.actors import plain_name
from runs.actors import user as actor_of
from runs.clock import db_now
from runs.services.record import MAX_REASON
from runs.typed import Misfit
from runs.views.answers import AnswerForm, form_for
from tools import registry
from tools import services as calls
from tools.canonical import Json
from tools.doubts import InDoubt, about
from tools.models import CallState, Outcome, Settlement, ToolCall
from tools.services import MAX_REFERENCE


class FoundForm(forms.Form):
    """What became of the call, and how one knows."""

    outcome = forms.ChoiceField(
        choices=[
            (Outcome.HAPPENED.value, "It happened"),
            (Outcome.DID_NOT_HAPPEN.value, "It did not happen"),
            (Outcome.CANNOT_TELL.value, "I cannot tell"),
        ],
        error_messages={"required": "Say whether it happened.", "invalid_choice": "Choose one of the three."},
    )
    reason = forms.CharField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Say how you know: it is kept in the run's record.",
            "max_length": "Shorten this to %(limit_value)d characters.",
        },
    )
    reference = forms.CharField(
        max_length=MAX_REFERENCE,
        required=False,
        error_messages={"max_length": "Shorten this to %(limit_value)d characters."},
    )


@dataclass(frozen=True)
class Doubt:
    """One call in doubt, with the form to settle it: `returned` asks for the result that it had."""

    about: InDoubt
    form: FoundForm
    returned: AnswerForm
    then: Mapping[str, str]  # what the run will do, by outcome
    own: bool = False  # whether whoever looks asked for the run
    early: bool = False
    problems: Sequence[str] = ()

    @property
    def call(self) -> ToolCall:
        """The call itself."""
        return self.about.call

    @property
    def happened(self) -> bool:
        """Whether the form says that it happened."""
        return bool(self.form["outcome"].value() == Outcome.HAPPENED)

    def result(self) -> Json:
        """What the call returned, as filled in; None unless it happened. Raises Misfit."""
        return self.returned.read() if self.happened else None


def doubt_about(
    call: ToolCall,
    username: str = "",
    given: Mapping[str, Any] | None = None,
    problems: Sequence[str] = (),
) -> Doubt:
    """The form for `call`, with what was `given` (a POST) filled in and what is wrong with the result."""
    try:
        schema = registry.get(call.tool).output_schema
    except registry.UnknownTool:
        schema = {}
    returned = form_for(schema, given, label="What it returned")
    (found,) = about([call])
    own = bool(username) and services.requester_of(call.run_id) == actor_of(username)
    early = found.early(db_now())
    return Doubt(found, FoundForm(given), returned, services.settled_then(call), own, early, problems)


@dataclass(frozen=True)
class Taken:
    """What became of a form that was sent: taken, or shown again with `status` and what is wrong."""

    doubt: Doubt
    problem: str = ""
    status: int = 303


def take(call: ToolCall, username: str, given: Mapping[str, Any]) -> Taken:
    """Put on record what the person of that name found out about `call`."""
    doubt = doubt_about(call, username, given)
    if call.state != CallState.UNKNOWN:
        return Taken(doubt, nothing_to_settle(call), 409)
    if not doubt.form.is_valid():
        return Taken(doubt, status=422)
    said = doubt.form.cleaned_data
    try:
        calls.settle(
            call.pk,
            said["outcome"],
            doubt.result(),
            note=said["reason"],
            by=actor_of(username),
            reference=said["reference"],
            seen=given.get("seen"),
        )
    except Misfit as error:
        return Taken(doubt_about(call, username, given, error.problems), status=422)
    except (calls.NotUnknown, calls.SettlementRefused) as error:
        return Taken(doubt_about(call, username, given), f"{error}. Nothing was done.", 409)
    return Taken(doubt)


def nothing_to_settle(call: ToolCall) -> str:
    """Why what was sent about `call`, which is not in doubt, was not taken."""
    if not call.settled_by:
        return f"{call.tool} is {call.state}, so there is nothing to settle. Nothing was done."
    word = "it happened" if call.state == CallState.SUCCEEDED else "it did not happen"
    last = Settlement.objects.filter(call_id=call.pk, by=call.settled_by).last()
    when = f" at {last.at:%H:%M:%S} UTC" if last else ""
    return f"{plain_name(call.settled_by)} was first and settled {call.tool}{when}: {word}. Nothing was done."
