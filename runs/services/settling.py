"""What becomes of a step whose tool call was settled."""

from __future__ import annotations

from typing import Any

from runs.actors import acting_as, plain_name
from runs.clock import db_now
from runs.journal import Entry
from runs.models import CLEAN_UP, Run, Step
from runs.services.control import let_go_on
from runs.services.record import append_entries, lock_run
from runs.services.waking import wake
from runs.states import RunState
from runs.values import store_result
from tools.models import CallState, Settlement, ToolCall


def settle_call(call: ToolCall) -> None:
    """A tool call whose outcome was unknown is settled (in the caller's transaction): its run goes on.

    It happened: the step has its result. It did not: the step may be tried again, with the same key, or is
    cancelled where nobody waits for it any more. A run that has ended stays as it ended; one whose contents
    are gone keeps the digest of the result alone.
    """
    run = lock_run(call.run_id)
    step = Step.objects.select_for_update().get(pk=call.step_id)
    happened = call.state == CallState.SUCCEEDED
    given_up = is_given_up(run, step)
    with acting_as(call.settled_by):
        if happened:
            step.succeed()
            if run.purged_at is None:
                store_result(step, call.result, db_now())
            step.error, step.finished_at = None, call.finished_at
        elif given_up:
            step.cancel()
            step.error, step.finished_at = None, call.finished_at
        else:
            step.retry_later()
            step.due_at, step.error = db_now(), None
        step.not_before = None
        step._change_reason = call.note  # type: ignore[attr-defined]
        step.save()
        word = "it happened" if happened else "it did not happen"
        entry = Entry(
            "call.settled",
            f"{plain_name(call.settled_by)} settled {call.tool}: {word}. {call.note}",
            {
                "call": call.id,
                "happened": happened,
                "note": call.note,
                "result": call.result_digest,
                **_as_said(call),
            },
            step.id,
        )
        append_entries(run, [entry], actor=call.settled_by)
        if run.state == RunState.NEEDS_ATTENTION and (run.attention or {}).get("code") == "unknown_outcome":
            let_go_on(run, f"{call.tool} is settled: {word}", call.settled_by)
        elif not given_up:
            wake(run)  # a worker may have it that has read the step before


def _as_said(call: ToolCall) -> dict[str, str]:
    """What stands with a settlement by a person: what the other side calls it, and what they confirmed."""
    said = call.settlement
    if said is None:
        return {}
    given = {"said": said.id, "reference": said.reference, "confirms": said.confirms}
    return {name: value for name, value in given.items() if value}


def note_said(call: ToolCall, by: str, sentence: str, content: dict[str, Any]) -> None:
    """A person said something about a call that stays in doubt (in the caller's transaction)."""
    append_entries(lock_run(call.run_id), [Entry("call.said", sentence, content, call.step_id)], actor=by)


def requester_of(run_id: str) -> str:
    """The actor who asked for the run; empty when there is none."""
    return Run.objects.filter(pk=run_id).values_list("requester", flat=True).first() or ""


def arguments_of(call: ToolCall) -> dict[str, Any] | None:
    """The arguments of the call; None when they are kept no longer."""
    kept = Step.objects.filter(pk=call.step_id).values_list("arguments", flat=True).first()
    return kept if isinstance(kept, dict) else None


def purge_said(run_id: str) -> int:
    """Empty what people gave as results of calls of the run: how many rows. Digests and notes stay."""
    return Settlement.objects.filter(run_id=run_id, result__isnull=False).update(result=None)


def is_given_up(run: Run, step: Step) -> bool:
    """Whether nobody will try the step again, whatever became of it."""
    cleaning_up = run.state == RunState.CANCELLING and not step.path.startswith(CLEAN_UP)
    return run.ended or cleaning_up or step.is_given_up
