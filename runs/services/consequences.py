"""What a verb stops and what it does not, in plain words, for whoever is about to do it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from runs.models import Run, Step
from runs.services.again import Plan, steps_on_record
from runs.services.cancelling import ends_at_once, has_cleanup
from runs.services.closing import CHANGES_THE_WORLD
from runs.services.record import NotPossible
from runs.services.retrying import plan_retry
from runs.services.standing import was_cancelling
from runs.states import RUN_ENDED, RunState, StepState

NAMED = 3


@dataclass(frozen=True)
class Consequence:
    """`stops`: what happens, or, if `refused`, why it does not. `goes_on`: what it does not stop or undo, one
    sentence each.
    """

    stops: str
    goes_on: tuple[str, ...] = ()
    refused: bool = False


def consequence_of(verb: str, run: Run, *, from_path: str = "") -> Consequence:
    """What `verb` would do to `run` as it stands; writes nothing."""
    steps = steps_on_record(run)
    told = {
        "pause": _pause,
        "resume": _resume,
        "cancel": _cancel,
        "retry": lambda run, steps: _retry(run, steps, from_path),
        "fork": lambda run, steps: _fork(run, steps, from_path),
    }[verb]
    return told(run, steps)


def _pause(run: Run, steps: list[Step]) -> Consequence:
    if run.state == RunState.RUNNING:
        stops = "It begins no other step; once the step in hand has ended, it stands still."
    else:
        stops = "It stands still at once."
    children = len(_open_children(run))
    stays = [f"{_counted(children)}: not paused with it."] if children else []
    stays += [*_under_way(steps), "Requests for a decision stay open, and their time to decide runs on."]
    return Consequence(f"{stops} It goes on when somebody resumes it.", tuple(stays))


def _resume(run: Run, steps: list[Step]) -> Consequence:
    if was_cancelling(run):
        stops = "Its clean-up goes on from where it stopped; then it ends as cancelled."
    else:
        stops = "It goes on from where it stopped."
    return Consequence(stops, ("What is on record is not done again.",))


def _cancel(run: Run, steps: list[Step]) -> Consequence:
    if was_cancelling(run):
        stops = "It ends at once as cancelled; the rest of its clean-up is not done."
    elif ends_at_once(run):
        stops = "It ends at once as cancelled. Its open steps are cancelled, and nobody need decide about it."
    else:
        first = "A worker does its clean-up; then it" if has_cleanup(run) else "It"
        stops = f"It begins no other step, and nobody need decide about it. {first} ends as cancelled."
    told = (*_children_too(run), *_under_way(steps), *_done(steps), "It cannot be taken back.")
    return Consequence(stops, told)


def _open_children(run: Run) -> list[Run]:
    found = Run.objects.filter(~Q(parent_id=""), parent_id=run.id).exclude(state__in=RUN_ENDED)
    return list(found.only("id", "to_tell"))


def _children_too(run: Run) -> list[str]:
    children = _open_children(run)
    waited_for = [child for child in children if child.to_tell]
    others = len(children) - len(waited_for)
    told = []
    if waited_for:
        told.append(f"{_counted(len(waited_for))} that it waits for: cancelled with it.")
    if others:
        told.append(f"{_counted(others)} that it does not wait for: not cancelled.")
    return told


def _counted(children: int) -> str:
    return f"{children} child run{'' if children == 1 else 's'}"


def _retry(run: Run, steps: list[Step], from_path: str) -> Consequence:
    try:
        plan = plan_retry(run, from_path)
    except NotPossible as error:
        return Consequence(str(error), refused=True)
    if from_path:
        return Consequence(
            f"It goes back to step {from_path}: that step and all after it are done over, as new acts with "
            "other keys. What the gate holds is decided anew.",
            tuple(_written(plan)),
        )
    if plan.names:
        stops = f"It tries again: {', '.join(plan.names[:NAMED])}."
    else:
        stops = "No step of it failed, so it goes on from where it stopped."
    keys = "A call is made with the same key as before, so that the other side does it once."
    return Consequence(stops, (keys, "What is on record is not done again."))


def _fork(run: Run, steps: list[Step], at_path: str) -> Consequence:
    at = f"before step {at_path}" if at_path else "before the step you choose"
    return Consequence(
        f"A new run begins with what is on record {at}, and goes its own way from there, with its own keys.",
        (
            "This run is left as it is.",
            "What stands on record is not done again; what comes after is done by the new run, also where "
            "this run has done it already.",
        ),
    )


def _under_way(steps: list[Step]) -> list[str]:
    calls = [
        step.name for step in steps if step.state == StepState.STARTED and step.kind in ("tool", "model")
    ]
    if not calls:
        return []
    return [f"{_some(calls)} is under way and is not stopped: it ends, and its result is recorded."]


def _done(steps: list[Step]) -> list[str]:
    told = []
    done = [
        step.name for step in steps if step.effect in CHANGES_THE_WORLD and step.state == StepState.SUCCEEDED
    ]
    unknown = [
        step.name
        for step in steps
        if step.state == StepState.UNKNOWN or (step.state == StepState.WAITING and step.in_doubt)
    ]
    if done:
        told.append(f"What was done is not undone: {_some(done)}.")
    if unknown:
        told.append(f"Nobody knows whether {_some(unknown)} happened; that stays to be settled.")
    return told


def _written(plan: Plan) -> list[str]:
    written = [
        step.name for step in plan.aside if step.effect == "write" and step.state == StepState.SUCCEEDED
    ]
    if not written:
        return ["What was done before that step stays."]
    return [f"{_some(written)} happened already and is not undone: it is done once more, with another key."]


def _some(names: list[str]) -> str:
    told = list(dict.fromkeys(names))
    more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return ", ".join(told[:NAMED]) + more
