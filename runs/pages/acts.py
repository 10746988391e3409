"""From steps and tool calls to the acts of a timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from runs.models import Step
from runs.pages import spans
from runs.pages.timeline import Act, Kind, Stretch
from runs.states import StepState, look_of
from tools.models import ToolCall

#: Steps that consist of other steps.
CONTAINERS = ("agent", "branch")
#: Steps in which no machine is busy.
PAUSES = ("sleep", "message", "question", "child")
#: The moment between proposing a call and making it is no wait.
NOT_WORTH_A_LINE = timedelta(seconds=1)


def as_tree(steps: Sequence[Step]) -> list[Step]:
    """The steps with those of a branch or an agent below it: what ran side by side was recorded mixed."""
    begun = {step.path: step.position for step in steps}

    def place(step: Step) -> tuple[int, ...]:
        parts = step.path.split("/")
        above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        return (*(begun.get(path, step.position) for path in above), step.position)

    return sorted(steps, key=place)


def acts_of(steps: Sequence[Step], calls: Iterable[ToolCall], now: datetime) -> list[Act]:
    """One act a step, in the order of the steps; attempts are taken from `calls`."""
    attempts: dict[str, list[ToolCall]] = {}
    for call in calls:
        attempts.setdefault(call.step_id, []).append(call)
    return [_act(step, attempts.get(step.id, []), now) for step in steps]


def _act(step: Step, attempts: list[ToolCall], now: datetime) -> Act:
    return Act(
        label=label_of(step),
        depth=depth_of(step),
        state=step.state,
        stretches=tuple(_stretches(step, attempts)),
        remark=_remark(step, attempts, now),
    )


def label_of(step: Step) -> str:
    """What a reader calls the step."""
    name = step.name.replace("_", " ")
    return {
        "agent": f"agent {step.name}",
        "model": f"model {step.name}",
        "sleep": "wait",
        "branch": f"branch {name}",
        "child": f"child run {step.name}",
        "gather": "side by side: one failed",
        "race": "race: decided",
        "message": f"message {step.name}",
        "artifact": f"artifact {step.name}",
        "patch": f"change {step.name}",
        "progress": str((step.arguments or {}).get("text", "progress")),
    }.get(step.kind, name)


def depth_of(step: Step) -> int:
    """How many acts it lies inside."""
    return step.path.count("/")


def _stretches(step: Step, attempts: list[ToolCall]) -> list[Stretch]:
    tone = look_of(step.state).tone
    if step.kind in CONTAINERS:
        return [Stretch(Kind.FRAME, step.started_at, step.finished_at, tone)]
    if step.kind in PAUSES:
        return [Stretch(Kind.WAIT, step.started_at, step.finished_at, "wait")]
    if step.kind != "tool":
        return [Stretch(Kind.WORK, step.started_at, step.finished_at, tone)]
    return _with_attempts(step, attempts)


def _with_attempts(step: Step, attempts: list[ToolCall]) -> list[Stretch]:
    """A tool call: waits before, between and after its attempts, for a person or for the next try."""
    drawn: list[Stretch] = []
    reached = step.started_at
    for call in sorted(attempts, key=lambda one: one.attempt):
        if call.started_at - reached > NOT_WORTH_A_LINE:
            drawn.append(Stretch(Kind.WAIT, reached, call.started_at, "wait"))
        drawn.append(Stretch(Kind.WORK, call.started_at, call.finished_at, look_of(call.state).tone))
        reached = call.finished_at or call.started_at
    open_end = step.state in (StepState.HELD, StepState.WAITING, StepState.UNKNOWN)
    if open_end:
        drawn.append(Stretch(Kind.WAIT, reached, None, look_of(step.state).tone))
    elif not drawn:
        drawn.append(Stretch(Kind.WAIT, reached, step.finished_at, look_of(step.state).tone))
    return drawn


def _remark(step: Step, attempts: list[ToolCall], now: datetime) -> str:
    taken = spans.length(max(0.0, ((step.finished_at or now) - step.started_at).total_seconds()))
    parts = [f"{step.attempt} attempts" if step.attempt > 1 else "", taken]
    return ", ".join(part for part in parts if part)
