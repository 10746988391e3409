"""Branches: parts of a run side by side, and what happens when one of them fails or comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runs import gate
from runs.models import Step
from runs.states import STEP_ENDED, StepState
from runs.stops import Diverged, NeedsAttention, Stop, Suspend
from runs.turns import cleanup
from runs.turns.checkpoint import own_transaction
from runs.turns.lanes import Lane
from runs.turns.recall import OF_ONE_BRANCH
from runs.turns.turn import Turn
from tools.canonical import digest

if TYPE_CHECKING:
    from runs.context import Run

REASONS_SHOWN = 3


@dataclass(frozen=True)
class Later:
    """An act that `gather` or `race` will do: `path` is its place, `act` does it there."""

    path: str
    name: str
    act: Callable[[], Any]


def run_branch(turn: Turn, path: str, function: Callable[..., Any], run: Run, arguments: Any) -> Any:
    """Run a function of the workflow's own as a branch: a step that holds the steps of its code."""
    name = function.__qualname__.rpartition(".")[2][:120]
    step = turn.find(path, "branch", name, digest(name))
    if step is None:
        step = turn.new_step(path, "branch", name, digest(name))
        turn.note("branch.started", f"Branch {name} begins", step)
    elif step.state in STEP_ENDED:
        turn.ended_branches[f"{path}/"] = name
    positional, named = arguments
    try:
        result = function(run, *positional, **named)
    except Exception as error:
        _end_branch(turn, step, error)
        raise
    _end_branch(turn, step, None)
    return result


def _end_branch(turn: Turn, step: Step, error: Exception | None) -> None:
    turn.go_on_only_if_running()
    if step.state in STEP_ENDED:
        turn.check_branch_visited(step)
        return
    if error is None:
        step.succeed()
    else:
        step.fail()
        step.error = {"kind": "fatal", "message": f"{type(error).__name__}: {error}"[:2000]}
    turn.finished(step)
    turn.note(f"branch.{'failed' if error else 'succeeded'}", f"Branch {step.name} ended", step)


def gather(turn: Turn, path: str, laters: Sequence[Later], *, return_failures: bool) -> list[Any]:
    """The results of all, in their order.

    The first failure ends the others and is raised; with `return_failures` it stands in the list instead.
    Raises what ends the turn, such as Suspend while one of them waits.
    """
    recorded = _find(turn, path, "gather", laters)
    if recorded is not None:
        _replay(turn, laters, recorded["failed"])
        raise turn.stop(Diverged(path, f"that {laters[recorded['failed']].name} failed", "its result"))
    lanes = turn.lanes.run(
        [later.act for later in laters],
        lambda lanes: _broken(lanes) or (not return_failures and any(lane.error for lane in lanes)),
    )
    turn.lanes.go_on_only_if_running()
    failed = None if return_failures else _first(lane.error is not None for lane in lanes)
    if failed is not None and not _broken(lanes):
        _record(turn, path, "gather", laters, {"failed": failed}, f"{laters[failed].name} failed")
        raise _error_of(lanes[failed])
    _go_on_or_stop(turn, lanes)
    return [lane.error if lane.error is not None else lane.result for lane in lanes]


def race(turn: Turn, path: str, laters: Sequence[Later]) -> tuple[int, Any]:
    """The place (from 0) and the result of the first to end; the others are cancelled.

    Raises the error of the first to end when it failed, and Suspend while all of them wait.
    """
    recorded = _find(turn, path, "race", laters)
    if recorded is not None:
        return recorded["winner"], _replay(turn, laters, recorded["winner"])
    lanes = turn.lanes.run(
        [later.act for later in laters], lambda lanes: _broken(lanes) or any(lane.decided for lane in lanes)
    )
    turn.lanes.go_on_only_if_running()
    winner = _first(lane.decided for lane in lanes)
    if winner is None or _broken(lanes):
        _go_on_or_stop(turn, lanes)
        raise RuntimeError("a race ended without anybody having ended")
    _record(turn, path, "race", laters, {"winner": winner}, f"{laters[winner].name} came first")
    if lanes[winner].error is not None:
        raise _error_of(lanes[winner])
    return winner, lanes[winner].result


def _find(turn: Turn, path: str, kind: str, laters: Sequence[Later]) -> Any:
    if not laters:
        raise ValueError(f"{kind} needs something to do: give it what run.later() returned")
    step = turn.find(path, kind, kind, _fingerprint(laters))
    return None if step is None else step.result


def _fingerprint(laters: Sequence[Later]) -> str:
    return digest([[later.path, later.name] for later in laters])


def _first(marks: Iterable[bool]) -> int | None:
    return next((place for place, mark in enumerate(marks) if mark), None)


def _broken(lanes: Sequence[Lane]) -> bool:
    """Whether something ended the whole turn."""
    return any(lane.stopped is not None and not isinstance(lane.stopped, OF_ONE_BRANCH) for lane in lanes)


def _error_of(lane: Lane) -> Exception:
    if lane.error is None:
        raise RuntimeError("the branch did not fail")
    return lane.error


def _go_on_or_stop(turn: Turn, lanes: Sequence[Lane]) -> None:
    """Raise what must stop the run: what ended the turn first, then what needs a person, then waiting."""
    stops = [lane.stopped for lane in lanes if lane.stopped is not None]
    hard: list[Stop] = [stop for stop in stops if not isinstance(stop, OF_ONE_BRANCH)]
    needs: list[Stop] = [stop for stop in stops if isinstance(stop, NeedsAttention)]
    for stop in hard + needs:
        raise turn.stop(stop)
    waits = [stop for stop in stops if isinstance(stop, Suspend)]
    if waits:
        moments = [stop.until for stop in waits if stop.until is not None]
        together = _together([stop.reason for stop in waits])
        raise turn.stop(Suspend(together, until=min(moments, default=None)))
    for stop in stops:
        raise turn.stop(stop)


def _together(reasons: list[str]) -> str:
    told = list(dict.fromkeys(reasons))
    more = f" and {len(told) - REASONS_SHOWN} more" if len(told) > REASONS_SHOWN else ""
    return "; ".join(told[:REASONS_SHOWN]) + more


def _replay(turn: Turn, laters: Sequence[Later], chosen: int) -> Any:
    """Only the branch that counted is asked again; what the others left on record is known to be theirs."""
    for place, later in enumerate(laters):
        if place != chosen and later.path in turn.steps:
            turn.visited.add(later.path)
    return laters[chosen].act()


def _record(
    turn: Turn, path: str, kind: str, laters: Sequence[Later], result: dict[str, int], said: str
) -> None:
    """Put on record which branch counted, and give up what the others had not finished."""
    chosen = next(iter(result.values()))
    step = turn.new_step(
        path,
        kind,
        kind,
        _fingerprint(laters),
        state=StepState.SUCCEEDED.value,
        arguments={"paths": [later.path for later in laters]},
        result=result,
        finished_at=turn.now(),
    )
    turn.note(f"{kind}.decided", f"{said}; the others are given up", step, **result)
    with own_transaction():
        turn.lock()
        others = [later for place, later in enumerate(laters) if place != chosen]
        lost = [step for later in others for step in _open_below(turn, later)]
        asked = [each for each in lost if cleanup.close(turn, each)]
        for each in asked:
            turn.pending.entries += gate.installed().withdraw(
                turn.run.id, "another branch decided", step_id=each.id
            )
        turn.commit()


def _open_below(turn: Turn, later: Later) -> list[Step]:
    below = f"{later.path}/"
    return [
        step
        for step in turn.steps.values()
        if (step.path == later.path or step.path.startswith(below))
        and step.state not in STEP_ENDED
        and step.state != StepState.UNKNOWN
    ]
