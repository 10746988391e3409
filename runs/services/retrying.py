"""Retrying a run: the failed step again, or everything from an earlier step on."""

from __future__ import annotations

from runs import gate
from runs.actors import acting_as, plain_name
from runs.journal import Entry
from runs.models import Run
from runs.services.again import (
    Plan,
    failed_again,
    from_step,
    hurry,
    must_have_its_contents,
    put_aside,
    put_back,
    steps_on_record,
    top_of,
)
from runs.services.closing import close_steps
from runs.services.control import make_ready, save_with
from runs.services.fitting import must_fit
from runs.services.record import found_run, lock_run, said_why
from runs.services.standing import must_allow
from runs.states import STEP_ENDED
from runs.turns.checkpoint import own_transaction

GONE_BACK_OVER = "the run goes back over it"


def retry_run(run_id: str, *, actor: str, reason: str, from_path: str = "") -> Run:
    """Have a run that failed, needs attention or is paused try again.

    Without `from_path`, the step that failed gets another attempt with the same idempotency key; the gate is
    asked again, and everything that was done stays. With `from_path`, the number of a top-level step, the
    run goes back to it: that step and all after it are done over, as new acts with other keys; their rows
    are kept. That is refused when one of them cannot be undone and happened, or may have, and when the code
    does not fit what is on record before that step.

    Raises NotFound, and NotPossible in the wrong state or without a reason.
    """
    why = said_why(reason)
    if from_path:
        _must_fit_before(found_run(run_id), from_path)
    with own_transaction(), acting_as(actor):
        run = lock_run(run_id)
        plan = plan_retry(run, from_path)
        entries = _go_back(run, plan, actor, why, from_path) if from_path else _again(run, plan, actor, why)
        run.retry()
        run.output, run.finished_at, run.archived_at, run.stop_reason = None, None, None, ""
        make_ready(run)
        save_with(run, entries, actor, why)
    return run


def _must_fit_before(run: Run, from_path: str) -> None:
    """Before anything is locked: code of users takes as long as it takes."""
    plan_retry(run, from_path)
    kept = [step for step in steps_on_record(run) if 0 < top_of(step) < int(from_path)]
    must_fit(run, kept, from_path)


def plan_retry(run: Run, from_path: str = "") -> Plan:
    """What `retry_run` would do. Raises NotPossible; writes nothing."""
    must_allow("retry", run)
    must_have_its_contents(run)
    return from_step(run, from_path) if from_path else failed_again(run)


def _again(run: Run, plan: Plan, actor: str, why: str) -> list[Entry]:
    # Named before they are put aside, which changes their paths.
    what = f"{', '.join(plan.names)} again" if plan.names else "it again from where it stopped"
    put_aside(run, plan.aside, f"{run.generation}.{run.head_seq}", why)
    put_back(plan.again, why)
    hurry(plan.hurry, why)
    content = {
        "reason": why,
        "again": [step.id for step in plan.again],
        "aside": [step.id for step in plan.aside],
    }
    return [Entry("run.retried", f"{plain_name(actor)} had it try {what}: {why}", content)]


def _go_back(run: Run, plan: Plan, actor: str, why: str, from_path: str) -> list[Entry]:
    entries = []
    still_open = [step for step in plan.aside if step.state not in STEP_ENDED]
    for step in still_open:
        entries += gate.installed().withdraw(run.id, GONE_BACK_OVER, step_id=step.id)
    entries += close_steps(still_open, why)
    put_aside(run, plan.aside, str(run.generation), why)
    run.generation += 1
    content = {
        "reason": why,
        "from": from_path,
        "generation": run.generation,
        "aside": [step.id for step in plan.aside],
    }
    said = f"{plain_name(actor)} had it go back to step {from_path}: {why}"
    return [*entries, Entry("run.retried", said, content)]
