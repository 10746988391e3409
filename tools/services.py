"""The verbs of this app: to settle a call whose outcome is unknown, by a person or by the tool's lookup."""

from __future__ import annotations

from django.db import transaction

from tools import ports, registry
from tools.canonical import Json, digest
from tools.clock import db_now
from tools.contract import InvalidOutput
from tools.models import ToolCall, fields_of
from tools.states import sources_of
from tools.unknown import Finding, Outcome, look, too_early

_SETTLED = ("state", "result_digest", "finished_at", "settled_by", "note")


class CallNotFound(LookupError):
    """There is no tool call of that id."""


class NotUnknown(Exception):
    """The outcome of the call is known: it was never in doubt, or somebody else was first."""


class SettlementRefused(Exception):
    """The call may not be settled so: too early, without a reason, or with a result that cannot be."""


def settle(call_id: str, outcome: Outcome | str, result: Json = None, *, note: str, by: str) -> ToolCall:
    """Record what a person found out about a call in doubt, and let its run go on.

    A call that happened needs its `result` (JSON that fits the tool's contract); every settlement needs a
    `note` of how they know. `by` is an actor such as ``user:ana``. Raises CallNotFound, NotUnknown,
    SettlementRefused, or ValueError for another `outcome`.
    """
    return _settle(call_id, Outcome(outcome), result, note, by, seen_by_lookup=False)


def probe(call_id: str, by: str = "caretaker") -> Finding:
    """Ask the tool's lookup about a call in doubt, and settle it if the answer is proof. Safe to repeat.

    Raises CallNotFound, NotUnknown, unknown.CannotLook. What is no proof comes back without an outcome.
    """
    call = _found(call_id)
    finding = look(call, db_now())
    if finding.outcome is not None:
        _settle(call_id, finding.outcome, finding.result, finding.sentence, by, seen_by_lookup=True)
    return finding


def settle_by_answer(call_id: str, result: Json, *, note: str, by: str) -> ToolCall:
    """The worker that made a call in doubt says that it happened, and with which `result`: that is proof.

    Raises CallNotFound, NotUnknown, SettlementRefused for a result that cannot be.
    """
    return _settle(call_id, Outcome.HAPPENED, result, note, by, seen_by_lookup=True)


def _settle(
    call_id: str, outcome: Outcome, result: Json, note: str, by: str, *, seen_by_lookup: bool
) -> ToolCall:
    with transaction.atomic():
        call = _found(call_id)
        ports.lock_run(call.run_id)
        # Seen is proof even before the not-before time; whatever people say must wait for it.
        refusal = "" if seen_by_lookup and outcome is Outcome.HAPPENED else too_early(call, db_now())
        if refusal or not note.strip():
            raise SettlementRefused(refusal or f"Say in a note how you know what became of {call_id}")
        _move(call, outcome, result)
        call.settled_by, call.note = by, note.strip()
        call.finished_at = call.finished_at or db_now()
        _compare_and_set(call, outcome)
        ports.on_settled(call)
    return call


def _found(call_id: str) -> ToolCall:
    call = ToolCall.objects.filter(pk=call_id).first()
    if call is None:
        raise CallNotFound(
            f"There is no tool call {call_id}; `manage.py tools unknown` lists those to settle"
        )
    if call.state not in sources_of(ToolCall, "settle_as_happened"):
        by = f", settled by {call.settled_by}" if call.settled_by else ""
        raise NotUnknown(f"{call_id} is {call.state}{by}: there is nothing to settle")
    return call


def _move(call: ToolCall, outcome: Outcome, result: Json) -> None:
    if outcome is Outcome.DID_NOT_HAPPEN:
        if result is not None:
            raise SettlementRefused(
                f"{call.id} cannot have a result if it did not happen; leave the result out"
            )
        call.settle_as_not_happened()
        return
    try:
        call.result = registry.get(call.tool).as_result(result)
    except registry.UnknownTool as error:
        raise SettlementRefused(f"{error}; the result of {call.id} cannot be checked without it") from error
    except InvalidOutput as error:
        raise SettlementRefused(f"Give the result that {call.id} had: {'; '.join(error.problems)}") from error
    call.result_digest = digest(call.result)
    call.settle_as_happened()


def _compare_and_set(call: ToolCall, outcome: Outcome) -> None:
    name = "settle_as_happened" if outcome is Outcome.HAPPENED else "settle_as_not_happened"
    in_doubt = ToolCall.objects.filter(pk=call.pk, state__in=sources_of(ToolCall, name))
    if not in_doubt.update(**fields_of(call, *_SETTLED)):
        raise NotUnknown(f"{call.id} has just been settled by somebody else")
