"""Giving up the open steps of a run that no worker has; what may have happened stays in doubt."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from runs.clock import db_now
from runs.journal import Entry
from runs.models import Errand, ErrandState, Run, Step
from runs.states import STEP_ENDED, StepState
from tools.failures import FailureClass
from tools.models import CallState, ToolCall
from tools.states import sources_of

CHANGES_THE_WORLD = ("write", "irreversible")
UNDER_WAY = "It was given up while it was under way."


def open_steps(run: Run) -> list[Step]:
    """The steps of `run` that have not ended and whose outcome is not in doubt."""
    steps = run.steps.exclude(state__in=[*STEP_ENDED, StepState.UNKNOWN]).order_by("position")
    return [step for step in steps if "~" not in step.path]


def close_steps(steps: Iterable[Step], why: str) -> list[Entry]:
    """Cancel what is open; a write that may have happened is left unknown instead. The run is locked by the
    caller.

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
            if step.in_doubt:
                entries.append(_leave_unknown(step, last_failed(step)))
            else:
                _cancel(step)
        step._change_reason = why  # type: ignore[attr-defined]
        step.save()
    return entries


def _cancel(step: Step) -> None:
    step.cancel()
    step.finished_at = db_now()
    if step.is_child:
        step.due_at = db_now()  # the child is still to be cancelled


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
    entry = put_in_doubt(step, call, call.not_before or step.not_before or db_now())
    call.save()
    return entry


# What nobody knows


def put_in_doubt(step: Step, call: ToolCall, until: datetime, said: str = "") -> Entry:
    """Give up `step`, of which `call` may have happened: both are unknown from now on, for a lookup or a
    person to settle. The caller writes them.

    `until` is when it can no longer arrive; `said` how it failed. Returns the entry for the journal.
    """
    call.doubt()
    call.not_before, call.failure_class = until, FailureClass.UNKNOWN_OUTCOME.value
    call.error = said or call.error or UNDER_WAY
    step.lose()
    step.not_before, step.due_at = until, None
    step.error = {
        "kind": FailureClass.UNKNOWN_OUTCOME.value,
        "message": call.error,
        "call": call.id,
        "given_up": True,
    }
    said = f"Nobody knows whether {step.name} happened, and nobody waits for it any more"
    return Entry("call.unknown", said, {"call": call.id}, step.id)


def last_failed(step: Step) -> ToolCall:
    """The last attempt of `step` that failed: what is in doubt when its failure proved nothing."""
    return ToolCall.objects.filter(step_id=step.id, state=CallState.FAILED).latest("attempt")


def with_unknown(sentence: str, count: int) -> str:
    """The sentence with which a run ends while `count` of its outcomes are unknown."""
    if not count:
        return sentence
    told = "The outcome of 1 call is unknown" if count == 1 else f"The outcomes of {count} calls are unknown"
    return f"{sentence.rstrip('.')}. {told}."
