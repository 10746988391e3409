"""What the kill switch asks of runs: what is under way, and what becomes of those that waited."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runs import agent, workflow
from runs.clock import db_now
from runs.models import Errand, ErrandState, Run, Step
from runs.services.control import pause_run
from runs.services.record import NotFound, NotPossible, lock_run
from runs.services.waking import wake
from runs.states import RunState, StepState
from runs.turns.checkpoint import own_transaction
from tools.orders import Begun, Subject
from tools.switch import Switch, SwitchKind, SwitchState, Then, Waiting

_STANDING_STILL = (RunState.WAITING, RunState.CANCELLING, RunState.PAUSED)


def in_hand() -> list[Begun]:
    """The tool calls and model requests that a worker has begun and not yet ended, as the record shows."""
    leased = Run.objects.filter(state__in=(RunState.RUNNING, RunState.PAUSING, RunState.CANCELLING))
    flows = dict(leased.exclude(lease_owner="").values_list("pk", "workflow"))
    taken = Errand.objects.filter(state=ErrandState.TAKEN).values_list("step_id", "run_id")
    elsewhere = dict(taken)
    flows |= dict(Run.objects.filter(pk__in=set(elsewhere.values())).values_list("pk", "workflow"))
    not_begun = Errand.objects.filter(run_id__in=flows, state=ErrandState.WAITING).values("step_id")
    steps = Step.objects.filter(run_id__in=flows, kind__in=("tool", "model"), state=StepState.STARTED)
    rows = list(steps.exclude(pk__in=not_begun).exclude(path__contains="~").order_by("started_at"))
    names = _agents_of(rows)
    return [
        Begun(row.run_id, row.id, subject_of(row, flows[row.run_id], names), row.started_at) for row in rows
    ]


def subject_of(step: Step, flow: str, agents: dict[tuple[str, str], str]) -> Subject:
    """What the recorded `step` does, for the orders that could name it."""
    name = agents.get((step.run_id, _above(step.path)), "")
    return Subject(step.name if step.kind == "tool" else "", step.effect, name, flow)


def agents_above(step: Step) -> dict[tuple[str, str], str]:
    """The agent that makes the call of `step`, by run and path, if one does."""
    return _agents_of([step])


def _agents_of(steps: Iterable[Step]) -> dict[tuple[str, str], str]:
    above = {(step.run_id, _above(step.path)) for step in steps}
    known = Step.objects.filter(run_id__in={run for run, _ in above}, path__in={path for _, path in above})
    return {(row.run_id, row.path): row.name for row in known.filter(kind="agent")}


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def names_of(kind: str) -> list[str]:
    """The names of all agents or workflows that this process knows."""
    if kind == SwitchKind.AGENT:
        return agent.names()
    return [known.name for known in workflow.all_workflows()]


def still_wait(run_ids: Sequence[str]) -> int:
    """How many of these runs stand still and have not ended."""
    return Run.objects.filter(pk__in=run_ids, state__in=_STANDING_STILL).count()


def released_waits(most: int) -> list[tuple[str, str]]:
    """Order and run of what waited for a switch that is released."""
    on = Switch.objects.filter(state=SwitchState.ON).values("pk")
    rows = Waiting.objects.exclude(order__in=on).order_by("order", "run_id")
    return list(rows.values_list("order", "run_id").distinct()[:most])


def let_go(order: str, run_id: str) -> bool:
    """The run waited for a switch that is released: it goes on, or is paused, as the release says."""
    with own_transaction():
        switch = Switch.objects.filter(pk=order).first()
        if switch is not None and switch.then == Then.LEAVE:
            _pause(run_id, switch)
        else:
            _wake(run_id)
        Waiting.objects.filter(order=order, run_id=run_id).delete()
    return True


def _pause(run_id: str, switch: Switch) -> None:
    try:
        pause_run(run_id, actor=switch.released_by, reason=switch.release_reason)
    except NotPossible:  # it ended, stands still already, or cleans up before its end
        _wake(run_id)
    except NotFound:
        return


def _wake(run_id: str) -> None:
    try:
        run = lock_run(run_id)
    except NotFound:
        return
    if run.ended:
        return
    wake(run)
    # What waits on another queue is hinted at once, not when the rest of its last hint is over.
    Errand.objects.filter(run_id=run_id, state=ErrandState.WAITING).update(wake_at=db_now())
