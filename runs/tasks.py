"""What Celery runs: one id in, one call."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from runs import engine, timers
from runs.crew import workers
from runs.crew.seats import SEATS
from runs.errands import performing


@shared_task(ignore_result=True)
def advance(*, run_id: str, **_newer: Any) -> None:
    """Take one run on."""
    me = workers.this_worker().id
    if not workers.may_take():
        return  # a caretaker sends another hint
    # An old hint may bring a suspect to a worker of many threads, where it would take the others down again.
    with SEATS.taken():
        engine.advance(run_id, me, suspects=workers.pool() != "threads")


@shared_task(ignore_result=True)
def perform(*, call_id: str, **_newer: Any) -> None:
    """Run the body of one call."""
    performing.perform(call_id, workers.this_worker().id)


@shared_task(ignore_result=True)
def caretake(**_newer: Any) -> None:
    """One round of the caretakers."""
    timers.sweep()
