"""Waking and rescuing: how a run that stands still gets its next worker."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Max

from runs import messages
from runs.actors import current
from runs.clock import db_now
from runs.crew import workers
from runs.journal import Entry
from runs.messages import HINT_LOST_AFTER, SUSPECTS
from runs.models import Run, Step
from runs.services.places import give_places, line_up
from runs.services.record import (
    HEAD,
    NotFound,
    append_entries,
    chain,
    journal_writes,
    lock_run,
    lock_run_unless_taken,
)
from runs.states import RUN_ENDED, RunState, StepState
from runs.turns.checkpoint import Write, own_transaction, put
from runs.turns.columns import HISTORY_STAMP, RUN_HISTORY, RUN_HISTORY_TABLE, history_values, values_of

MAX_CRASHES = 3
TOGETHER = 2  # crashes from which on runs come back apart from each other, where nobody runs suspects alone
LEASED = (RunState.RUNNING, RunState.PAUSING, RunState.CANCELLING)  # a worker may have it in these


def wake(
    run: Run,
    entries: Sequence[Entry] = (),
    *,
    actor: str = "",
    at: datetime | None = None,
    also: Sequence[Write] = (),
) -> None:
    """What the run (locked by the caller) waits for may be there: have it look.

    `entries` go into its journal and the rows of `also` beside them, all in one statement; `actor` and the
    moment `at` are those of now where they are left out.

    Also right while a worker has it: the count makes that worker look again before it goes to wait. One that
    must not start yet is not woken: it looks when it starts; nor is one that is paused.
    """
    actor, at = actor or current(), at or db_now()
    begun = _begun_by_waking(run, at)
    run.wakes += 1
    writes = [*also, *journal_writes(run, entries, actor, at)]
    columns = ("wakes", *begun, *(HEAD if entries else ()))
    if "state" in begun:
        kept = history_values(run, RUN_HISTORY, kind="~", actor=actor, at=at, reason=None)
        writes.append(Write(RUN_HISTORY_TABLE, (*RUN_HISTORY, *HISTORY_STAMP), inserts=[kept]))
    put([*writes, Write(Run, columns, updates=[(run.pk, *values_of(run, columns))])])
    if begun:
        messages.tell(run)


def _begun_by_waking(run: Run, at: datetime) -> tuple[str, ...]:
    """Have it go on if it can; the columns of it that have changed."""
    if run.state == RunState.CANCELLING and not run.lease_owner:
        run.wake_at = at + HINT_LOST_AFTER
        return ("wake_at",)
    if run.state == RunState.WAITING and run.placed is not False:
        run.wake()
        run.wake_at, run.waiting_for = at + HINT_LOST_AFTER, ""
        return "state", "wake_at", "waiting_for"
    return ()


def have_it_look(run_id: str) -> bool:
    """What the run waits for may be there; False when it has ended, or there is none of that id."""
    with own_transaction():
        try:
            run = lock_run(run_id)
        except NotFound:
            return False
        if run.state in RUN_ENDED:
            return False
        wake(run)
    return True


def wake_due(run_id: str) -> bool:
    """Wake a waiting run, or a waiting clean-up, whose time has come; False when it is not waiting for the
    clock any more.
    """
    with own_transaction():
        run = lock_run(run_id)
        waits = run.state == RunState.WAITING or (run.state == RunState.CANCELLING and not run.lease_owner)
        if not waits or run.wake_at is None or run.wake_at > db_now():
            return False
        if run.placed is not False or run.state == RunState.CANCELLING:
            wake(run)
            return True
    if run.placed is False:
        give_places(run.workflow, run.limit_key, run.id)
    return True


def tell_again(before: datetime, most: int) -> int:
    """Send new hints for queued runs whose hints are older than `before`, the oldest first, and count them:
    whoever had fetched those may be gone.

    Not for runs that come back apart from each other, because their workers died again and again.
    """
    told = Run.objects.filter(state=RunState.QUEUED, wake_at__lt=before + HINT_LOST_AFTER)
    told = told.exclude(placed=False).exclude(alone=False, crashes__gte=TOGETHER)
    with own_transaction():
        runs = list(
            told.select_for_update(skip_locked=True)
            .only("pk", "queue", "priority", "alone")
            .order_by("wake_at")[:most]
        )
        Run.objects.filter(pk__in=[run.pk for run in runs]).update(wake_at=db_now() + HINT_LOST_AFTER)
        for run in runs:
            messages.tell(run)
    return len(runs)


def requeue(run_id: str) -> bool:
    """Send another hint for a queued run whose hint nobody took."""
    with own_transaction():
        now = db_now()
        due = Run.objects.filter(pk=run_id, state=RunState.QUEUED, wake_at__lte=now)
        run = due.first()
        if run is None:
            return False
        if run.placed is False:
            return _hold_back(run_id, now)
        # Nobody takes suspects here any more: better among others than never.
        run.alone = run.alone and workers.anyone_listens_to(SUSPECTS)
        if not due.update(wake_at=now + HINT_LOST_AFTER, alone=run.alone):
            return False
        messages.tell(run)
    return True


def _hold_back(run_id: str, now: datetime) -> bool:
    """A run was queued that must not start yet: it goes where it belongs."""
    run = lock_run(run_id)
    if run.state != RunState.QUEUED or run.placed is not False:
        return False
    line_up(run, now)
    run.save()
    return True


def rescue_run(
    run_id: str,
    epoch: int,
    *,
    reason: str,
    died: bool,
    proven: bool,
    alone: bool,
    only_if_over: bool = False,
) -> bool:
    """Take a run from a worker that is gone or out of time, so that the next one goes on with it.

    A compare-and-set on the epoch: of many caretakers one succeeds, and the others go on to the next run at
    once; so they share what a dead worker leaves. `died` counts towards the limit after which a person must
    look; `proven` says that the process is gone for certain, so that a write with a key need not wait;
    `alone` sends it to a worker of its own, without counting: it may only have been near the culprit; with
    `only_if_over` it is left alone when its worker has renewed the lease meanwhile.
    """
    with own_transaction():
        run = lock_run_unless_taken(run_id)
        if run is None or run.state not in LEASED or not run.lease_owner or run.lease_epoch != epoch:
            return False
        if only_if_over and run.lease_until is not None and run.lease_until > db_now():
            return False
        suspect = died and alone and not run.alone
        run.crashes += int(died and not suspect)
        run.alone = run.alone or suspect
        lost_owner = run.lease_owner
        run.lease_owner, run.lease_until = "", None
        if proven:
            # What an earlier worker had sent, or one of another queue has in hand, may still arrive.
            begun = Step.objects.filter(run=run, state=StepState.STARTED, effect="write", epoch=epoch)
            begun.update(not_before=None)
        content = {"epoch": epoch, "worker": lost_owner, "reason": reason, "crashes": run.crashes}
        if run.state == RunState.PAUSING:
            return _pause(run, reason, content)
        if run.crashes >= MAX_CRASHES:
            return _quarantine(run, content)
        if run.state == RunState.RUNNING:
            run.rescue()
        at_once = run.alone or run.crashes < TOGETHER
        now = db_now()
        run.wake_at = now + HINT_LOST_AFTER if at_once else _apart(now)
        chain(run, [Entry("run.rescued", f"Taken up again: {reason}", content)], current(), now)
        run.save()
        if at_once:
            messages.tell(run)
    return True


def _pause(run: Run, reason: str, content: dict[str, Any]) -> bool:
    """It was asked to stand still, and now it does; what its worker had in hand is looked into later."""
    run.pause()
    run.wake_at = None
    append_entries(run, [Entry("run.paused", f"Stands still, as asked: {reason}", content)], actor=current())
    run._change_reason = run.stop_reason  # type: ignore[attr-defined]
    run.save()
    return True


def _apart(now: datetime) -> datetime:
    """When the next of the runs goes on that come back apart from each other: behind the last of them."""
    apart = Run.objects.filter(state=RunState.QUEUED, alone=False, crashes__gte=TOGETHER, wake_at__gt=now)
    last = apart.aggregate(last=Max("wake_at"))["last"] or now
    # Caretakers that take up two at the same moment do not see each other's.
    return last + HINT_LOST_AFTER * random.uniform(1.0, 1.5)  # noqa: S311 - only spreads them


def _quarantine(run: Run, content: dict[str, Any]) -> bool:
    sentence = f"Its worker died {run.crashes} times at the same place; it is not tried again by itself."
    cleanup = {"cleanup": True} if run.state == RunState.CANCELLING else {}
    run.halt()
    run.wake_at = None
    run.attention = {"code": "poison", "sentence": sentence, **cleanup}
    append_entries(
        run, [Entry("run.needs_attention", sentence, content | {"code": "poison"})], actor=current()
    )
    run.save()
    return True
