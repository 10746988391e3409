"""The verbs on errands: a worker takes one and answers it; caretakers find those that were forgotten."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from runs import messages
from runs.actors import acting_as
from runs.clock import db_now, ticks
from runs.errands import outcomes
from runs.errands.outcomes import Outcome
from runs.journal import Entry
from runs.models import CLEAN_UP, Errand, ErrandState, Run, Step
from runs.services.record import append_entries, lock_run
from runs.services.stopped import agents_above, subject_of
from runs.services.waking import wake
from runs.states import RunState
from runs.turns.checkpoint import own_transaction
from tools import orders
from tools import services as calls
from tools.models import CallState, ToolCall
from tools.orders import InForce, waiting_for
from tools.states import sources_of
from tools.switch import Waiting

logger = logging.getLogger(__name__)

MARGIN = float(settings.HOLDPOINT_LEASE_MARGIN)
HINT_AGAIN = timedelta(seconds=5)  # an errand that nobody took by then gets another hint; later ones rarer
A_DEPLOY = timedelta(minutes=5)  # for so long workers of two versions of the code may stand side by side
#: In these states a run begins nothing new.
STANDING = (RunState.PAUSING, RunState.PAUSED)


@dataclass(frozen=True)
class Taken:
    """An errand in a worker's hands: what to do, and until when (ticks) it is its own."""

    call_id: str
    tool: str
    version: int
    arguments: Any  # JSON
    key: str
    timeout: float
    contract: str
    ends: float


def take_errand(call_id: str, worker: str, contract: str = "") -> Taken | None:
    """Give the errand to `worker`, with a lease that outlives its body; None when it is not to be done now:
    somebody else has it, it was given up, its run stands still, or an order stops what it would do.

    `contract` is the digest of the tool's contract as the worker knows it, if it is to be that of the run.
    """
    with own_transaction(), acting_as(f"worker:{worker}"):
        now_in_force = orders.read()  # and as it stands until this is committed
        errand = Errand.objects.filter(pk=call_id).first()
        if errand is None or errand.state != ErrandState.WAITING:
            return None
        run = lock_run(errand.run_id)
        if run.state in STANDING or run.ended or _is_being_given_up(run, errand):
            return None
        step, call = Step.objects.get(pk=errand.step_id), ToolCall.objects.get(pk=call_id)
        if _is_stopped(run, step, now_in_force):
            return None
        began, now = ticks(), db_now()
        if contract and _is_for_another(errand, contract, now):
            return None
        until = now + timedelta(seconds=errand.timeout + MARGIN)
        waiting = Errand.objects.filter(pk=call_id, state__in=sources_of(Errand, "take"))
        errand.take()
        if not waiting.update(state=errand.state, lease_owner=worker, lease_until=until, wake_at=until):
            return None
        if step.effect in ("write", "irreversible"):
            not_before = until + timedelta(seconds=MARGIN)
            Step.objects.filter(pk=step.id).update(not_before=not_before)
            ToolCall.objects.filter(pk=call_id).update(not_before=not_before)
        return Taken(
            call_id,
            call.tool,
            call.version,
            step.arguments,
            call.key,
            errand.timeout,
            errand.contract,
            began + errand.timeout + MARGIN,
        )


def _is_for_another(errand: Errand, contract: str, now: datetime) -> bool:
    """Whether it was asked for under another contract, and a worker that has that one may still come."""
    if errand.contract in ("", contract) or now - errand.created_at > A_DEPLOY:
        return False
    said = "errand left for another worker: the contract of its tool is another one here"
    logger.warning(said, extra={"call": errand.pk})
    return True


def _is_stopped(run: Run, step: Step, now: InForce) -> bool:
    """Whether an order stops the call; it then waits as its step would, and is hinted again."""
    if not now.stops:
        return False
    subject = subject_of(step, run.workflow, agents_above(step))
    stop = now.stop_for(subject)
    if stop is not None:
        row = waiting_for(stop, run.id, step.path, subject, db_now())
        Waiting.objects.bulk_create([row], ignore_conflicts=True)
    return stop is not None


def _is_being_given_up(run: Run, errand: Errand) -> bool:
    """Whether its run is being cancelled, and it is no part of the clean-up: then it is begun no more."""
    if run.state != RunState.CANCELLING:
        return False
    return not Step.objects.filter(pk=errand.step_id, path__startswith=CLEAN_UP).exists()


def answer_errand(call_id: str, worker: str, outcome: Outcome) -> bool:
    """Record what came of the errand and wake its run; False when it was given up or given to another: such
    an answer is late, is noted, and changes nothing. Safe to try again when nobody knows what came of a try.
    """
    with own_transaction(), acting_as(f"worker:{worker}"):
        errand = Errand.objects.get(pk=call_id)
        run = lock_run(errand.run_id)
        call = ToolCall.objects.get(pk=call_id)
        mine = Errand.objects.filter(pk=call_id, lease_owner=worker, state__in=sources_of(Errand, "finish"))
        values = {"outcome": outcomes.told(outcome), "finished_at": db_now(), "wake_at": None}
        if not mine.update(state=ErrandState.DONE, **values):
            if _was_heard(call_id, worker):
                return True
            _note_late(run, errand, call, outcome, worker)
            return False
        if call.state == CallState.UNKNOWN:
            _settle(errand, outcome, worker)
        else:
            wake(run)
    return True


def _was_heard(call_id: str, worker: str) -> bool:
    """Whether an earlier try was committed, and only the word of that was lost."""
    heard = (ErrandState.DONE, ErrandState.READ)
    return Errand.objects.filter(pk=call_id, lease_owner=worker, state__in=heard).exists()


def _settle(errand: Errand, outcome: Outcome, worker: str) -> None:
    """Its step was closed without waiting for it: an answer that it happened is proof."""
    Errand.objects.filter(pk=errand.pk).update(state=ErrandState.READ, outcome=None)
    if outcome.failure is None:
        note = "Its worker answered after it was given up."
        calls.settle_by_answer(errand.pk, outcome.result, note=note, by=f"worker:{worker}")


def _note_late(run: Run, errand: Errand, call: ToolCall, outcome: Outcome, worker: str) -> None:
    told = "it happened" if outcome.failure is None else outcome.failure.message
    logger.warning("late effect: %s", told, extra={"run": run.id, "call": call.id, "tool": call.tool})
    said = f"Late effect: the worker of {call.tool} answered after it was given up: {told}"
    content = {"call": call.id, "key": call.key, "worker": worker, "happened": outcome.failure is None}
    append_entries(run, [Entry("call.late", said, content, errand.step_id)], actor=f"worker:{worker}")


def hint_errand_again(call_id: str) -> bool:
    """Send another hint for an errand that nobody took; each one later than the one before."""
    with own_transaction():
        now = db_now()
        due = Errand.objects.filter(pk=call_id, state=ErrandState.WAITING, wake_at__lte=now)
        errand = due.first()
        if errand is None:
            return False
        rest = max(HINT_AGAIN, now - errand.created_at)
        if not due.update(wake_at=now + rest):
            return False
        messages.hint_errand(errand.pk, errand.queue)
    return True


def wake_for_lost(call_id: str) -> bool:
    """The worker of an errand is gone, or out of time: have the run look. It alone says that it is lost."""
    with own_transaction():
        errand = Errand.objects.get(pk=call_id)
        run = lock_run(errand.run_id)
        taken = Errand.objects.filter(pk=call_id, state=ErrandState.TAKEN)
        if not taken.exists():
            return False
        if not ToolCall.objects.filter(pk=call_id, state=CallState.STARTED).exists():
            # Its step was closed already: nobody waits for it.
            taken.update(state=ErrandState.LOST, wake_at=None)
            return True
        if run.state != RunState.WAITING and not (run.state == RunState.CANCELLING and not run.lease_owner):
            return False
        wake(run)
    return True
