"""The verbs of this app: to settle a call whose outcome is unknown, by a person or by the tool's lookup."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from tools import ports, registry
from tools.canonical import Json, digest, new_id, normalise
from tools.clock import db_now
from tools.contract import InvalidOutput
from tools.models import Outcome, Settlement, ToolCall, fields_of
from tools.said import Standing, in_words, name_of, same, standing_of
from tools.stakes import needs_two, stake_of
from tools.states import sources_of
from tools.unknown import Finding, look, too_early

MAX_NOTE = 4000
MAX_REFERENCE = 200
_SETTLED = ("state", "result_digest", "finished_at", "settled_by", "note")


class CallNotFound(LookupError):
    """There is no tool call of that id."""


class NotUnknown(Exception):
    """The outcome of the call is known: it was never in doubt, or somebody else was first."""


class SettlementRefused(Exception):
    """The call may not be settled so: too early, without a reason, or with a result that cannot be."""


class SaidMeanwhile(SettlementRefused):
    """Somebody said something about the call after the page was read: the message says who, what and when."""


class MayNotSettle(SettlementRefused):
    """This actor may not say what became of this call."""


def settle(
    call_id: str,
    outcome: Outcome | str,
    result: Json = None,
    *,
    note: str,
    by: str,
    reference: str = "",
    seen: str | None = None,
) -> ToolCall:
    """Record what a person found out about a call in doubt; its run goes on if that settles it.

    A call that happened needs its `result` (JSON that fits the tool's contract); everything said needs a
    `note` of how they know, and may have a `reference`: what the other side calls it. ``cannot_tell`` leaves
    the call in doubt, for somebody else to look. Above HOLDPOINT_TWO_PEOPLE_ABOVE it stays in doubt until a
    second person says the same. `by` is a person, such as ``user:ana``, and not the one who asked for the
    run. `seen` is the id of the last Settlement that they have read ("": none); None compares nothing.

    Returns the call as it is then. Raises CallNotFound, NotUnknown, SettlementRefused (SaidMeanwhile,
    MayNotSettle), or ValueError for another `outcome`.
    """
    found = Settlement(
        id=new_id("set"), call_id=call_id, by=by, outcome=Outcome(outcome).value, result=result
    )
    found.note, found.reference = _text("note", note, MAX_NOTE), _text("reference", reference, MAX_REFERENCE)
    two = needs_two(stake_of(_found(call_id))) if settings.HOLDPOINT_TWO_PEOPLE_ABOVE else False
    with transaction.atomic():
        call = _locked(call_id)
        before = standing_of(call_id)
        _refuse_person(call, by)
        _refuse_stale(before, seen)
        _fill_in(found, call)
        agreed = _agreed(before, found, two=two)
        found.save(force_insert=True)
        if agreed:
            _close(call, Outcome(found.outcome), found.result, found.note, by, said=found)
        else:
            ports.on_said(call, by, _sentence(call, before, found), _content(found))
    return call


def probe(call_id: str, by: str = "caretaker") -> Finding:
    """Ask the tool's lookup about a call in doubt, and settle it if the answer is proof. Safe to repeat.

    Raises CallNotFound, NotUnknown, unknown.CannotLook. What is no proof comes back without an outcome.
    """
    call = _found(call_id)
    finding = look(call, db_now())
    conclude(call_id, finding, by)
    return finding


def conclude(call_id: str, finding: Finding, by: str) -> None:
    """Settle a call by what its lookup says, if that is proof.

    Raises CallNotFound, NotUnknown, and SettlementRefused for a result that cannot be.
    """
    if finding.outcome is not None:
        _settle(call_id, finding.outcome, finding.result, finding.sentence, by)


def settle_by_answer(call_id: str, result: Json, *, note: str, by: str) -> ToolCall:
    """The worker that made a call in doubt says that it happened, and with which `result`: that is proof.

    Raises CallNotFound, NotUnknown, SettlementRefused for a result that cannot be.
    """
    return _settle(call_id, Outcome.HAPPENED, result, note, by)


def _settle(call_id: str, outcome: Outcome, result: Json, note: str, by: str) -> ToolCall:
    """As a lookup or the worker of the call has it: proof, whatever people said."""
    with transaction.atomic():
        call = _locked(call_id)
        if outcome is not Outcome.HAPPENED:
            _refuse_early(call)  # seen is proof even before that time
        _close(call, outcome, _checked(call, outcome, result), note, by)
    return call


def _close(
    call: ToolCall, outcome: Outcome, result: Json, note: str, by: str, said: Settlement | None = None
) -> None:
    if outcome is Outcome.HAPPENED:
        call.result, call.result_digest = result, digest(result)
        call.settle_as_happened()
    else:
        call.settle_as_not_happened()
    call.settled_by, call.note, call.settlement = by, note, said
    call.finished_at = call.finished_at or db_now()
    _compare_and_set(call, outcome)
    ports.on_settled(call)


def _locked(call_id: str) -> ToolCall:
    """The call in doubt, with its run locked: nobody else says anything about it meanwhile."""
    ports.lock_run(_found(call_id).run_id)
    return _found(call_id)


# What is refused


def _text(what: str, given: str, most: int) -> str:
    text = given.strip()
    if len(text) > most:
        raise SettlementRefused(f"The {what} has {len(text)} characters; shorten it to {most}")
    return str(normalise(text))


def _refuse_person(call: ToolCall, by: str) -> None:
    if not by.startswith("user:"):
        raise MayNotSettle(f"Only a person may say what became of {call.id}, not {by}")
    if ports.requester_of(call.run_id) == by:
        raise MayNotSettle(
            f"{name_of(by)} asked for the run of {call.id}, so somebody else must say what became of it"
        )


def _refuse_stale(before: Standing, seen: str | None) -> None:
    if seen is not None and seen != before.last:
        told = in_words(before.said[-1]) if before.said else "nothing has been said yet"
        raise SaidMeanwhile(f"This changed while you looked. {told}. Read that, and then say what you found")


def _refuse_early(call: ToolCall) -> None:
    refusal = too_early(call, db_now())
    if refusal:
        raise SettlementRefused(refusal)


def _fill_in(found: Settlement, call: ToolCall) -> None:
    """Check what is said against the call and its tool's contract."""
    outcome = Outcome(found.outcome)
    if outcome is not Outcome.CANNOT_TELL:
        _refuse_early(call)
    if not found.note:
        raise SettlementRefused(f"Say in a note how you know what became of {call.id}")
    found.run_id, found.at = call.run_id, db_now()
    found.result = _checked(call, outcome, found.result)
    found.result_digest = digest(found.result) if outcome is Outcome.HAPPENED else ""


def _agreed(before: Standing, found: Settlement, *, two: bool) -> bool:
    """Whether this settles the call. Where two must agree, it names what it confirms."""
    if found.outcome == Outcome.CANNOT_TELL:
        return False
    if not two:
        return True
    earlier = before.agreeing(found)
    if earlier is not None:
        found.confirms = earlier.id
        return True
    if any(one.by == found.by and same(one, found) for one in before.answers):
        raise SettlementRefused(
            f"You said so already: above the limit for one person somebody else must confirm {found.call_id}"
        )
    return False


# What is put on record


def _sentence(call: ToolCall, before: Standing, found: Settlement) -> str:
    who = name_of(found.by)
    if found.outcome == Outcome.CANNOT_TELL:
        return f"{who} cannot tell whether {call.tool} happened and asks for a second look. {found.note}"
    happened = "happened" if found.outcome == Outcome.HAPPENED else "did not happen"
    others = [one for one in before.answers if one.by != found.by]
    if others:
        named = ", ".join(name_of(one.by) for one in others)
        return f"{who} found that {call.tool} {happened}, and {named} found otherwise. {found.note}"
    return f"{who} found that {call.tool} {happened}; another person must confirm it. {found.note}"


def _content(found: Settlement) -> dict[str, Json]:
    names = ("outcome", "note", "reference")
    said = {name: getattr(found, name) for name in names}
    return {"call": found.call_id, "said": found.id, "result": found.result_digest, **said}


def _found(call_id: str) -> ToolCall:
    call = ToolCall.objects.filter(pk=call_id).first()
    if call is None:
        raise CallNotFound(
            f"There is no tool call {call_id}; `manage.py tools unknown` lists those to settle"
        )
    if call.state not in sources_of(ToolCall, "settle_as_happened"):
        by = f", settled by {call.settled_by}{_when_settled(call)}" if call.settled_by else ""
        raise NotUnknown(f"{call_id} is {call.state}{by}: there is nothing to settle")
    return call


def _when_settled(call: ToolCall) -> str:
    last = Settlement.objects.filter(call_id=call.pk, by=call.settled_by).last()
    return f" at {last.at:%Y-%m-%d %H:%M:%S} UTC" if last else ""


def _checked(call: ToolCall, outcome: Outcome, result: Json) -> Json:
    """The result as the tool's contract has it; there is none unless it happened."""
    if outcome is not Outcome.HAPPENED:
        if result is not None:
            raise SettlementRefused(f"{call.id} can have a result only if it happened; leave the result out")
        return None
    try:
        return registry.get(call.tool).as_result(result)
    except registry.UnknownTool as error:
        raise SettlementRefused(f"{error}; the result of {call.id} cannot be checked without it") from error
    except InvalidOutput as error:
        raise SettlementRefused(f"Give the result that {call.id} had: {'; '.join(error.problems)}") from error


def _compare_and_set(call: ToolCall, outcome: Outcome) -> None:
    name = "settle_as_happened" if outcome is Outcome.HAPPENED else "settle_as_not_happened"
    in_doubt = ToolCall.objects.filter(pk=call.pk, state__in=sources_of(ToolCall, name))
    if not in_doubt.update(**fields_of(call, *_SETTLED)):
        raise NotUnknown(f"{call.id} has just been settled by somebody else")
