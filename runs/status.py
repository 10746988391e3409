"""The first line of a run: what it does or waits for, on whom that depends, until when, and then what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs.actors import plain_name
from runs.models import Run, Step
from runs.states import RunState, StepState
from runs.waits import Wait


@dataclass(frozen=True)
class Status:
    """The parts of the line; empty ones are left out. `what` goes on from the word for the state, such as
    ``for a decision``; `url` leads to where the viewer can act.
    """

    what: str
    on: str = ""
    since: datetime | None = None
    until: datetime | None = None
    then: str = ""
    url: str = ""
    act: str = ""
    alarm: bool = False


def status_of(
    run: Run,
    steps: Sequence[Step],
    waits: Sequence[Wait],
    *,
    since: datetime | None,
    worker_listens: bool,
) -> Status:
    """The line for `run`; `since` is when it came into its state, `worker_listens` matters when queued."""
    since = since or run.created_at
    if run.state == RunState.WAITING:
        return _waiting(run, steps, waits, since)
    if run.state == RunState.QUEUED:
        return _queued(run, since, worker_listens)
    if run.state == RunState.RUNNING:
        return _running(run, steps, since)
    if run.state == RunState.NEEDS_ATTENTION:
        return _needs_attention(run, since)
    if run.ended:
        return _ended(run)
    return _stopping(run, since)


def _waiting(run: Run, steps: Sequence[Step], waits: Sequence[Wait], since: datetime) -> Status:
    if waits:
        return _asked(waits)
    due = next((step for step in steps if step.state == StepState.WAITING and step.due_at), None)
    if due is not None and due.kind == "sleep":
        return Status("for the clock", since=since, until=due.due_at, then="it goes on by itself")
    if due is not None and due.kind == "message":
        then = "the workflow is told that nobody sent it"
        return Status(f"for {run.waiting_for}", "whoever sends it", since=since, until=due.due_at, then=then)
    if due is not None:
        what = f"to try {due.name} again, after attempt {due.attempt}: {_message(due)}"
        return Status(what, since=since, until=due.due_at, then="it tries again by itself")
    what = f"for {run.waiting_for}" if run.waiting_for else "to be woken"
    then = "it looks again by itself" if run.wake_at else "it goes on once that is there"
    return Status(what, since=since, until=run.wake_at, then=then)


def _asked(waits: Sequence[Wait]) -> Status:
    first = next((wait for wait in waits if wait.may_act), waits[0])
    others = len(waits) - 1
    word = "decision" if all(wait.kind == "decision" for wait in waits) else "answer"
    more = f" (and {others} more {word if others == 1 else f'{word}s'})" if others else ""
    return Status(
        what=f"for {'an answer' if first.kind == 'answer' else 'a decision'}{more}: {first.what}",
        on=first.who,
        since=first.since,
        until=first.until,
        then=first.then,
        url=first.url if first.may_act else "",
        act=first.act,
    )


def _queued(run: Run, since: datetime, worker_listens: bool) -> Status:
    if worker_listens:
        return Status("and ready to go on", on=f"the next free worker of queue {run.queue}", since=since)
    return Status(
        f"and ready, but no worker takes runs from queue {run.queue}",
        on=f"an operator, who starts one: celery -A config worker -Q {run.queue}",
        since=since,
        then="it goes on by itself once a worker is there",
        alarm=True,
    )


def _running(run: Run, steps: Sequence[Step], since: datetime) -> Status:
    step = next((step for step in reversed(steps) if step.state == StepState.STARTED), None)
    what = step.name if step else "the workflow"
    if step and step.attempt > 1:
        what += f", attempt {step.attempt}"
    return Status(
        what,
        on=f"worker {run.lease_owner}" if run.lease_owner else "a worker",
        since=step.started_at if step else since,
        until=run.lease_until,
        then="the lease is renewed, or another worker takes over",
    )


def _needs_attention(run: Run, since: datetime) -> Status:
    sentence = (run.attention or {}).get("sentence") or "It cannot go on by itself."
    return Status(sentence, on="a person", since=since, then="it goes on from where it stopped", alarm=True)


def _ended(run: Run) -> Status:
    error = _error(run.output)
    what = {
        RunState.SUCCEEDED: "the workflow returned its result",
        RunState.FAILED: error or "for a reason that was not recorded",
        RunState.CANCELLED: error or "before its end",
    }[RunState(run.state)]
    return Status(what, since=run.finished_at)


def _stopping(run: Run, since: datetime) -> Status:
    what, then = {
        RunState.PAUSING: ("after the step in hand", "it stays paused until somebody resumes it"),
        RunState.PAUSED: ("by an operator", "it goes on from where it stopped"),
        RunState.CANCELLING: ("after it has cleaned up", "it ends as cancelled"),
    }[RunState(run.state)]
    on = "an operator" if run.state == RunState.PAUSED else ""
    return Status(what, on=on, since=since, then=then)


def _error(output: Any) -> str:
    error = output.get("error") if isinstance(output, dict) else None
    if not isinstance(error, dict):
        return ""
    message = str(error.get("message") or error.get("type") or "")
    by = error.get("by")
    return f"{message} ({plain_name(by)})" if by else message


def _message(step: Step) -> str:
    return str((step.error or {}).get("message") or "it did not work")
