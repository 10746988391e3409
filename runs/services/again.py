"""What a retry does with the steps on record: which are tried again, and which are put aside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from runs.clock import db_now
from runs.models import Message, Run, Step
from runs.services.closing import CHANGES_THE_WORLD
from runs.services.record import NotPossible
from runs.states import RUN_ENDED, StepState
from tools.models import ToolCall

CONTAINERS = ("agent", "branch")
DECISIONS = ("gather", "race")
_NOT_DONE = (StepState.FAILED, StepState.CANCELLED, StepState.REFUSED)


@dataclass
class Plan:
    """What is to be done: `again` keep their keys and get another attempt, `aside` are begun anew."""

    again: list[Step] = field(default_factory=list)
    aside: list[Step] = field(default_factory=list)
    hurry: list[Step] = field(default_factory=list)  # wait for their next attempt, and need not

    @property
    def names(self) -> list[str]:
        """What is done again, as a reader knows it."""
        steps = [*self.again, *self.hurry, *(step for step in self.aside if step.kind not in DECISIONS)]
        return [f"step {step.path} ({step.name})" for step in steps]


def steps_on_record(run: Run) -> list[Step]:
    """The steps that count, in their order; those gone back over are left out."""
    return list(run.steps.exclude(path__contains="~").order_by("position"))


def top_of(step: Step) -> int:
    """The number of the top-level step that it is, or lies below; 0 for steps of a clean-up."""
    first = step.path.partition("/")[0]
    return int(first) if first.isdecimal() else 0


def in_doubt(step: Step) -> bool:
    """Whether it may have happened, and nobody knows."""
    if step.effect not in CHANGES_THE_WORLD:
        return False
    begun = step.state in (StepState.STARTED, StepState.UNKNOWN)
    return begun or step.in_doubt


# The failed step again


def failed_again(run: Run) -> Plan:
    """The step that failed last. Raises NotPossible while nobody knows whether one of them happened."""
    steps = steps_on_record(run)
    unknown = next((step for step in steps if step.state == StepState.UNKNOWN), None)
    if unknown is not None:
        then = "then it can be retried" if run.ended else "the run then goes on by itself"
        raise NotPossible(
            f"Nobody knows whether step {unknown.path} ({unknown.name}) of {run.id} happened. Settle that "
            f"first, on the run's page or with manage.py tools reconcile; {then}.",
            code="unknown",
        )
    plan = Plan()
    _last_of(steps, "", plan)
    return plan


def _last_of(steps: Sequence[Step], below: str, plan: Plan) -> None:
    """The last act of a level, which is the one that failed if one did."""
    level = [step for step in steps if step.path.startswith(below) and "/" not in step.path[len(below) :]]
    if not level:
        return
    last = level[-1]
    if last.kind in DECISIONS:
        _decided(steps, last, plan)
    else:
        _visit(steps, last, plan)


def _visit(steps: Sequence[Step], step: Step, plan: Plan) -> None:
    if step.kind in CONTAINERS and step.state != StepState.SUCCEEDED:
        if step.state in _NOT_DONE:
            plan.aside.append(step)
        if step.kind == "agent":
            _last_round(steps, step, plan)
        else:
            _last_of(steps, f"{step.path}/", plan)
    elif step.state in _NOT_DONE:
        _redo(step, plan)
    elif step.kind == "tool" and step.state == StepState.WAITING and not in_doubt(step):
        plan.hurry.append(step)


def _redo(step: Step, plan: Plan) -> None:
    if step.kind == "tool" and (step.state == StepState.FAILED or in_doubt(step)):
        plan.again.append(step)
    else:
        plan.aside.append(step)


def _last_round(steps: Sequence[Step], agent: Step, plan: Plan) -> None:
    """What an agent did after its last answer from the model; with nothing there, that answer again."""
    inside = [step for step in steps if step.path.startswith(f"{agent.path}/")]
    answers = [place for place, step in enumerate(inside) if step.kind == "model" and step.ended]
    good = [place for place in answers if inside[place].state == StepState.SUCCEEDED]
    after = inside[good[-1] + 1 :] if good else inside
    for step in after:
        _visit(steps, step, plan)
    if not after and good and agent.state in _NOT_DONE:
        plan.aside.append(inside[good[-1]])


def _decided(steps: Sequence[Step], decision: Step, plan: Plan) -> None:
    """Branches of which one failed and the others were given up: all that was not done is begun again."""
    members: list[str] = (decision.arguments or {}).get("paths", [])
    result = decision.result or {}
    chosen = int(result.get("failed", result.get("winner", 0)))
    root = next((step for step in steps if members and step.path == members[chosen]), None)
    if root is None or root.state not in _NOT_DONE:
        return
    plan.aside.append(decision)
    _visit(steps, root, plan)
    for path in members:
        if path != root.path:
            for step in steps:
                inside = step.path == path or step.path.startswith(f"{path}/")
                if inside and step.state == StepState.CANCELLED:
                    _redo(step, plan)


# Going back to an earlier step


def from_step(run: Run, path: str) -> Plan:
    """The step at the top-level `path` and all after it. Raises NotPossible when there is no such step, or
    when one of them cannot be done over.
    """
    steps = steps_on_record(run)
    must_be_a_step(run, steps, path)
    over = [step for step in steps if top_of(step) >= int(path)]
    _must_not_repeat(run, over, path)
    return Plan(aside=over)


def must_have_its_contents(run: Run) -> None:
    """Raises NotPossible when what the run was given and did is no longer kept."""
    if run.purged_at is not None:
        raise NotPossible(
            f"The contents of {run.id} were kept as long as they had to be, and are gone. Start a new run.",
            code="archived",
        )


def must_be_a_step(run: Run, steps: Iterable[Step], path: str) -> None:
    """Raises NotPossible when `path` is no top-level step of the run."""
    known = [step.path for step in steps if "/" not in step.path]
    if path not in known:
        told = f"It has {', '.join(known[:20])}" if known else "It has none yet"
        more = f" and {len(known) - 20} more" if len(known) > 20 else ""
        raise NotPossible(f"{run.id} has no step {path[:40]} of its own. {told}{more}.", code="path")


def _must_not_repeat(run: Run, over: Sequence[Step], path: str) -> None:
    for step in over:
        if in_doubt(step):
            raise NotPossible(
                f"{run.id} cannot go back to step {path}: step {step.path} ({step.name}) was begun and may "
                "have happened. Settle that first; or retry without going back.",
                code="unknown",
            )
    for step in [*over, *_of_children(run, over)]:
        if step.effect == "irreversible" and step.state == StepState.SUCCEEDED:
            where = "" if step.run_id == run.id else f" of its child {step.run_id}"
            raise NotPossible(
                f"{run.id} cannot go back to step {path}: step {step.path} ({step.name}){where} happened and "
                "cannot be undone. Go back to a step after it, or retry without going back.",
                code="effect",
            )


def _of_children(run: Run, over: Sequence[Step]) -> list[Step]:
    """The steps with effects of the runs that these steps started, and of theirs. Raises NotPossible while
    one of those runs has not ended.
    """
    found: list[Step] = []
    started = {step.id for step in over}
    parents = [run.id]
    while parents:
        children = [
            child for child in Run.objects.filter(parent_id__in=parents) if child.parent_step in started
        ]
        for child in children:
            if child.state not in RUN_ENDED:
                raise NotPossible(
                    f"{run.id} cannot go back over its child {child.id}, which has not ended. Cancel that "
                    "first.",
                    code="child",
                )
        parents = [child.id for child in children]
        inside = list(Step.objects.filter(run_id__in=parents))
        started = {step.id for step in inside}
        found += [step for step in inside if step.effect]
    return found


# Doing it


def put_aside(run: Run, steps: Iterable[Step], mark: str, why: str) -> None:
    """Keep `steps` under a path that is never loaded again, and give back the messages they took."""
    ids = []
    for step in steps:
        step.path = f"{step.path}~{mark}"
        step._change_reason = why  # type: ignore[attr-defined]
        step.save()
        ids.append(step.id)
    Message.objects.filter(run=run, taken_by__in=ids).update(taken_by="", taken_at=None)


def put_back(steps: Iterable[Step], why: str) -> None:
    """Have `steps` tried again, with their own keys, and as often as at the first time."""
    for step in steps:
        tried = (
            ToolCall.objects.filter(step_id=step.id).order_by("-attempt").values_list("attempt", flat=True)
        )
        step.try_again()
        step.attempt = (tried.first() or 0) + 1
        now = db_now()
        # An attempt in doubt may still arrive until then.
        until = step.not_before if in_doubt(step) and step.not_before else now
        step.due_at, step.finished_at = max(now, until), None
        counted_from = {"tried": step.attempt - 1, "since": now.isoformat()}
        step.error = {**(step.error or {}), "again": True, "counted_from": counted_from}
        step._change_reason = why  # type: ignore[attr-defined]
        step.save()


def begin_anew(step: Step) -> None:
    """Have a step that stands still for a person tried again, as often as at the first time."""
    now = db_now()
    counted_from = {"tried": step.attempt, "since": now.isoformat()}
    error = {name: value for name, value in (step.error or {}).items() if name != "incident"}
    step.attempt += 1
    step.due_at, step.error = now, {**error, "again": True, "counted_from": counted_from}


def hurry(steps: Iterable[Step], why: str) -> None:
    """Have `steps` not wait for their next attempt, or for a person."""
    for step in steps:
        if step.asks_a_person:
            begin_anew(step)
        step.due_at = db_now()
        step._change_reason = why  # type: ignore[attr-defined]
        step.save()
