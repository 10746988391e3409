"""The first line of a run: what it does or waits for, on whom that depends, until when, and then what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs.actors import plain_name
from runs.crew.workers import how_to_start
from runs.messages import queue_of
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
    by: str = "",
    unserved: tuple[str, datetime] | None = None,
    unknown: int = 0,
) -> Status:
    """The line for `run`; `since` is when it came into its state, `worker_listens` matters when queued, `by`
    is the person who asked it to pause or to end, `unserved` a queue that it waits for and on which no worker
    listens since that moment, `unknown` of how many calls nobody knows whether they happened.
    """
    since = since or run.created_at
    if run.state == RunState.WAITING and unserved is not None:
        return _nobody_on(*unserved)
    if run.state == RunState.WAITING:
        return _waiting(run, steps, waits, since)
    if run.state == RunState.QUEUED:
        return _queued(run, since, worker_listens)
    if run.state == RunState.RUNNING:
        return _running(run, steps, since)
    if run.state == RunState.NEEDS_ATTENTION:
        return _needs_attention(run, since)
    if run.ended:
        return _ended(run, unknown)
    return _stopping(run, since, by)


def _waiting(run: Run, steps: Sequence[Step], waits: Sequence[Wait], since: datetime) -> Status:
    if run.placed is False:
        return _not_let_in(run, since)
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
    what = _for(run.waiting_for) if run.waiting_for else "to be woken"
    then = "it looks again by itself" if run.wake_at else "it goes on once that is there"
    return Status(what, since=since, until=run.wake_at, then=then)


def _for(what: str) -> str:
    """What a run waits for, as it goes on after "waits"; a wait for the clock says until when."""
    return what if what.startswith("until ") else f"for {what}"


def _nobody_on(queue: str, since: datetime) -> Status:
    return Status(
        f"for a worker, but no worker listens on queue {queue}",
        on=f"an operator, who starts one: {how_to_start(queue)}",
        since=since,
        then="it goes on by itself once a worker is there",
        alarm=True,
    )


def _not_let_in(run: Run, since: datetime) -> Status:
    if run.start_at is not None and run.start_at == run.wake_at:
        return Status(f"for {run.waiting_for}", since=since, until=run.start_at, then="it starts by itself")
    on = f"the runs of {run.workflow} that are under way; those that wait or are held keep their places"
    then = "it starts when one ends: those of higher priority first, then the oldest"
    return Status(f"for {run.waiting_for}", on=on, since=since, then=then)


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
    queue = queue_of(run)
    if worker_listens and run.alone:
        what = "to be tried alone, because a worker died that had it"
        return Status(what, on=f"the next free worker of queue {queue}, one run at a time", since=since)
    if worker_listens:
        return Status("and ready to go on", on=f"the next free worker of queue {queue}", since=since)
    return Status(
        f"and ready, but no worker takes runs from queue {queue}",
        on=f"an operator, who starts one: {how_to_start(queue)}",
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
        then="another worker takes over, unless this one says that it is still at it",
    )


def _needs_attention(run: Run, since: datetime) -> Status:
    sentence = (run.attention or {}).get("sentence") or "It cannot go on by itself."
    return Status(sentence, on="a person", since=since, then="it goes on from where it stopped", alarm=True)


def _ended(run: Run, unknown: int) -> Status:
    error = _error(run.output)
    what = {
        RunState.SUCCEEDED: "the workflow returned its result",
        RunState.FAILED: error or "for a reason that was not recorded",
        RunState.CANCELLED: error or "before its end",
    }[RunState(run.state)]
    if unknown:
        what += f"; nobody knows yet whether {'1 call' if unknown == 1 else f'{unknown} calls'} happened"
    return Status(what, since=run.finished_at, alarm=bool(unknown))


def _stopping(run: Run, since: datetime, by: str) -> Status:
    why = f", as {plain_name(by)} asked: {run.stop_reason}" if by and run.stop_reason else ""
    if run.state == RunState.PAUSING:
        return Status(
            f"after the step in hand{why}", since=since, then="it stays paused until somebody resumes it"
        )
    if run.state == RunState.PAUSED:
        who = f"by {plain_name(by)}: {run.stop_reason}" if by and run.stop_reason else "by an operator"
        return Status(who, on="an operator", since=since, then="it goes on from where it stopped")
    waits = f"; its clean-up waits {_for(run.waiting_for)}" if run.waiting_for else ""
    until = run.wake_at if run.waiting_for else None
    then = "it ends as cancelled"
    return Status(f"after it has cleaned up{why}{waits}", since=since, until=until, then=then)


def _error(output: Any) -> str:
    error = output.get("error") if isinstance(output, dict) else None
    if not isinstance(error, dict):
        return ""
    message = str(error.get("message") or error.get("type") or "")
    by = error.get("by")
    return f"{message} ({plain_name(by)})" if by else message


def _message(step: Step) -> str:
    return str((step.error or {}).get("message") or "it did not work")
