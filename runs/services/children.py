"""Between a run and its children: how one ended is told to whoever waits, and what was given up is cancelled.

Two runs are never locked in one transaction: what a run must do to another is on record first, and done
after the commit or, when the process dies in between, by a caretaker.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from runs.actors import acting_as
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Run, Step
from runs.services.cancelling import cancel_run
from runs.services.record import NotFound, NotPossible, lock_run
from runs.services.waking import wake
from runs.states import RUN_ENDED, RunState, StepState
from runs.turns.checkpoint import own_transaction
from tools.canonical import digest

KIND = "child"
ROUNDS = 5  # a child that restarts while it is being cancelled is found again as the run it became
_WORDS = {RunState.SUCCEEDED: "succeeded", RunState.FAILED: "failed", RunState.CANCELLED: "was cancelled"}


# Telling


def tell_parent(child_id: str) -> bool:
    """Tell the run that waits for `child_id`, which has ended; False when nobody waits any more."""
    child = Run.objects.filter(pk=child_id, state__in=RUN_ENDED).exclude(to_tell="").first()
    if child is None:
        return False
    with own_transaction(), acting_as(_actor(child.id)):
        _tell(child)
    with own_transaction():
        # Not the run that somebody has retried meanwhile: it is told of when it ends again.
        ended = Run.objects.filter(pk=child.id, to_tell=child.to_tell, state__in=RUN_ENDED)
        ended.update(to_tell="")
    return True


def _tell(child: Run) -> None:
    try:
        parent = lock_run(child.to_tell)
    except NotFound:
        return
    waiting = Step.objects.select_for_update().filter(
        pk=child.parent_step, run=parent, kind=KIND, state=StepState.WAITING
    )
    step = waiting.exclude(path__contains="~").first()
    if step is None or parent.ended:
        return
    _end(step, child)
    wake(parent, [_entry(step, child)], actor=_actor(child.id))


def _end(step: Step, child: Run) -> None:
    if child.state == RunState.SUCCEEDED:
        step.succeed()
        step.result = child.output
    else:
        step.fail()
        step.error = _why(child)
    step.finished_at, step.due_at = child.finished_at or db_now(), None
    step._change_reason = f"{child.id} {_WORDS[RunState(child.state)]}"  # type: ignore[attr-defined]
    step.save()


def _why(child: Run) -> dict[str, Any]:
    said = (child.output or {}).get("error") if isinstance(child.output, dict) else None
    message = str((said or {}).get("message", ""))[:2000]
    return {"kind": str(child.state), "message": message, "run": child.id}


def _entry(step: Step, child: Run) -> Entry:
    word = _WORDS[RunState(child.state)]
    content = {"run": child.id, "state": str(child.state), "result": digest(child.output)}
    return Entry(f"child.{child.state}", f"Child run {child.id} ({step.name}) {word}", content, step.id)


def _actor(run_id: str) -> str:
    return f"run:{run_id}"


def untold(limit: int) -> list[str]:
    """Runs that have ended and whose parent was not told: the process died in between."""
    ended = Run.objects.filter(~Q(to_tell=""), state__in=RUN_ENDED)
    return list(ended.order_by("id").values_list("id", flat=True)[:limit])


# Giving up


def settle_family(run: Run) -> None:
    """`run` has ended: tell whoever waits for it, and cancel the children that it waited for.

    Those that it did not wait for are left alone: they go on to ends of their own.
    """
    if run.parent_id:
        tell_parent(run.id)
    if run.childless:
        return
    steps = _given_up().filter(run=run)
    for step_id in list(steps.values_list("id", flat=True)):
        cancel_given_up(step_id)


def cancel_given_up(step_id: str) -> bool:
    """Cancel the run that the given-up step `step_id` waited for; False when there is nothing left to do."""
    step = _given_up().filter(pk=step_id).first()
    if step is None:
        return False
    for _ in range(ROUNDS):
        child_id = _still_going(step)
        if child_id is None:
            with own_transaction():
                Step.objects.filter(pk=step.id, state=StepState.CANCELLED).update(due_at=None)
            return True
        _cancel(child_id, step.run_id)
    return False


def _still_going(step: Step) -> str | None:
    runs = Run.objects.filter(parent_id=step.run_id, parent_step=step.id)
    going = runs.exclude(state__in=[*RUN_ENDED, RunState.CANCELLING])
    return going.values_list("id", flat=True).first()


def _cancel(child_id: str, parent_id: str) -> None:
    parent = Run.objects.filter(pk=parent_id).values_list("state", "stop_reason").first()
    ended = parent is not None and parent[0] in (RunState.CANCELLED, RunState.CANCELLING)
    why = f"{parent_id}, which waited for it, "
    why += f"is cancelled: {parent[1]}" if ended and parent is not None else "does not wait any more"
    try:
        cancel_run(child_id, actor=_actor(parent_id), reason=why[:2000])
    except NotPossible:
        return  # it came to an end of its own, or a person was quicker: the caller looks again


def given_up(limit: int) -> list[str]:
    """Steps that were given up and whose children may not have been cancelled yet."""
    return list(_given_up().order_by("id").values_list("id", flat=True)[:limit])


def _given_up() -> QuerySet[Step]:
    """Steps whose end is on record, with the due time that says: their child is still to be cancelled."""
    return Step.objects.filter(kind=KIND, state=StepState.CANCELLED, due_at__isnull=False)
