"""What becomes of a run for each thing that somebody may say about its call in doubt; writes nothing."""

from __future__ import annotations

from runs.models import Run, Step
from runs.services.settling import is_given_up
from runs.states import RunState
from tools.models import Outcome, ToolCall


def settled_then(call: ToolCall) -> dict[str, str]:
    """A sentence for each outcome, about the run of `call` as it stands now."""
    run, step = Run.objects.get(pk=call.run_id), Step.objects.get(pk=call.step_id)
    return {
        Outcome.HAPPENED.value: _happened(run, step),
        Outcome.DID_NOT_HAPPEN.value: _did_not(run, step),
        Outcome.CANNOT_TELL.value: "Nothing is sent. It stays here, marked for somebody else to look.",
    }


def _happened(run: Run, step: Step) -> str:
    if run.ended:
        return "What it returned goes on record; the run has ended and stays as it is."
    if is_given_up(run, step):
        return "What it returned goes on record; the run does not wait for it any more."
    return f"What it returned goes on record, and the run {_when(run)} with it."


def _did_not(run: Run, step: Step) -> str:
    if run.ended:
        return "Nothing is sent; the run has ended and stays as it is."
    if is_given_up(run, step):
        return "Nothing is sent; the run does not wait for it any more."
    return f"The run {_when(run)} and sends it again, with the same key."


def _when(run: Run) -> str:
    standing = run.state in (RunState.PAUSED, RunState.PAUSING)
    return "goes on, once it is resumed," if standing else "goes on"
