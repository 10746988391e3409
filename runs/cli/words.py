"""How a run looks on a command line, for people and for programs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from runs.models import JournalEntry, Run, Step
from runs.states import RunState, StepState, look_of


def line(run: Run) -> str:
    """The run in one line."""
    # A paused run keeps what it waits for, and yet it is the person who paused it that it waits for.
    waits = f" for {run.waiting_for}" if run.waiting_for and run.state == RunState.WAITING else ""
    return f"{run.id}  {look_of(run.state).word}{waits}  {run.workflow}  {run.intent}".rstrip()


def contents(run: Run) -> list[str]:
    """What the run was given and, once it has ended well, what it returned: a line each."""
    told = [f"given     {json.dumps(run.input, ensure_ascii=False)}"]
    if run.state == RunState.SUCCEEDED:
        told.append(f"returned  {json.dumps(run.output, ensure_ascii=False)}")
    return told


def described(run: Run, *, technical: bool = False) -> dict[str, Any]:
    """The run as JSON; what it was given and returned only for those who may see that."""
    told = {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "state": run.state,
        "intent": run.intent,
        "requester": run.requester,
        "source": run.source,
        "key": run.key,
        "priority": run.priority,
        "waiting_for": run.waiting_for,
        "attention": run.attention,
        "parent": run.parent_id,
        "forked_from": run.forked_from,
        "continued_by": run.continued_by,
        "deadline": _moment(run.deadline),
        "created_at": _moment(run.created_at),
        "finished_at": _moment(run.finished_at),
    }
    return told | ({"input": run.input, "output": run.output} if technical else {})


def entry_line(entry: JournalEntry) -> str:
    """One line of the journal."""
    return f"{entry.seq:4} {entry.at:%Y-%m-%d %H:%M:%S} {entry.sentence}"


def entry_described(entry: JournalEntry) -> dict[str, Any]:
    """One line of the journal as JSON."""
    return {
        "seq": entry.seq,
        "at": entry.at.isoformat(),
        "actor": entry.actor,
        "kind": entry.kind,
        "sentence": entry.sentence,
    }


def needs_a_person(run: Run) -> bool:
    """Whether it goes on only once a person has decided, answered or looked; also when a child waits so."""
    if run.state in (RunState.NEEDS_ATTENTION, RunState.PAUSED):
        return True
    held = Step.objects.filter(state=StepState.HELD).exclude(path__contains="~")
    waits = run.state == RunState.WAITING
    return waits and (held.filter(run=run).exists() or held.filter(run__parent_id=run.id).exists())


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
