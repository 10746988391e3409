"""Giving up the open steps of a run that no worker has; what may have happened stays in doubt."""

from __future__ import annotations

from collections.abc import Iterable

from runs.clock import db_now
from runs.journal import Entry
from runs.models import Errand, ErrandState, Run, Step
from runs.states import STEP_ENDED, StepState
from tools.failures import FailureClass
from tools.models import CallState, ToolCall
from tools.states import sources_of

CHANGES_THE_WORLD = ("write", "irreversible")
UNDER_WAY = "The run ended while it was under way."


def open_steps(run: Run) -> list[Step]:
    """The steps of `run` that have not ended and whose outcome is not in doubt."""
    steps = run.steps.exclude(state__in=[*STEP_ENDED, StepState.UNKNOWN]).order_by("position")
    return [step for step in steps if "~" not in step.path]


def close_steps(steps: Iterable[Step], why: str) -> list[Entry]:
    """Cancel what is open; a write that was begun is left unknown instead. The run is locked by the caller.

    Returns the entries for the journal.
    """
    entries: list[Entry] = []
    for step in steps:
        call = ToolCall.objects.filter(step_id=step.id, state=CallState.STARTED).order_by("-attempt").first()
        begun = call is not None and not _taken_back(step, call)
        if call is not None and begun and step.effect in CHANGES_THE_WORLD:
            entries.append(_leave_unknown(step, call))
        else:
            if call is not None:
                _give_up(call, begun=begun)
            step.cancel()
            step.finished_at = db_now()
            if step.is_child:
                step.due_at = db_now()  # the child is still to be cancelled
        step._change_reason = why  # type: ignore[attr-defined]
        step.save()
    return entries


def _taken_back(step: Step, call: ToolCall) -> bool:
    """Whether its body stood in another queue, and is taken out of it unbegun. An answer to what was begun
    and changes nothing will not count.
    """
    errand = Errand.objects.select_for_update().filter(pk=call.pk).first()
    if errand is None or errand.state not in sources_of(Errand, "lose"):
        return False
    unbegun: bool = errand.state == ErrandState.WAITING
    if unbegun or step.effect not in CHANGES_THE_WORLD:
        errand.lose()
        errand.finished_at, errand.wake_at = db_now(), None
        errand.save()
    return unbegun


def _give_up(call: ToolCall, *, begun: bool) -> None:
    call.fail() if begun else call.cancel()
    call.error, call.finished_at = UNDER_WAY if begun else "It was not begun.", db_now()
    call.save()


def _leave_unknown(step: Step, call: ToolCall) -> Entry:
    call.doubt()
    call.not_before = call.not_before or step.not_before or db_now()
    call.failure_class, call.error = FailureClass.UNKNOWN_OUTCOME.value, UNDER_WAY
    call.save()
    step.lose()
    step.error = {"kind": FailureClass.UNKNOWN_OUTCOME.value, "message": UNDER_WAY, "call": call.id}
    return Entry("call.unknown", f"Nobody knows whether {step.name} happened", {"call": call.id}, step.id)
