"""Calls whose body runs on another queue than their run: the turn sends an errand and reads its outcome.

Everything else of the call, from the gate to the record, stays in the turn.
"""

from __future__ import annotations

from datetime import timedelta

from runs import messages
from runs.crew import workers
from runs.errands.outcomes import Outcome, heard
from runs.journal import Entry
from runs.models import Errand, ErrandState, Step
from runs.services.closing import CHANGES_THE_WORLD, last_failed
from runs.services.errands import HINT_AGAIN
from runs.services.waking import MAX_CRASHES
from runs.stops import NeedsAttention, Suspend
from runs.turns.checkpoint import own_transaction
from runs.turns.doubt import leave_unknown
from runs.turns.turn import MARGIN, Turn
from runs.values import keep_result
from tools.canonical import digest
from tools.contract import Tool
from tools.effects import Effect
from tools.failures import Failure, FailureClass
from tools.models import ToolCall
from tools.retry import changed_nothing

LOST = "its worker was lost in the middle"


def goes_elsewhere(turn: Turn, tool: Tool) -> bool:
    """Whether the body of `tool` must run on another queue than the run."""
    return tool.queue not in ("", turn.run.queue)


def prepare(turn: Turn, tool: Tool, call: ToolCall) -> None:
    """Have the errand of `call` written together with the intent."""
    turn.new_errand(
        Errand(
            id=call.id,
            run_id=turn.run.id,
            step_id=call.step_id,
            queue=tool.queue,
            timeout=tool.timeout,
            contract=tool.contract_digest,
            wake_at=turn.now() + HINT_AGAIN,
            created_at=turn.now(),
        )
    )


def send(tool: Tool, call: ToolCall) -> None:
    """Once the intent is on record: tell a worker of the tool's queue."""
    messages.hint_errand(call.id, tool.queue)


def of(turn: Turn, step: Step) -> Errand | None:
    """The errand on which the started `step` depends; None when its call is made in the turn."""
    return turn.errand_of(step)


def hear(turn: Turn, errand: Errand) -> Outcome:
    """What came of the errand, taken over with the next commit. Raises Suspend while there is none yet."""
    if errand.state != ErrandState.DONE:
        raise turn.stop(Suspend(f"a worker on queue {errand.queue}"))
    outcome = heard(errand.outcome)
    errand.read()
    errand.outcome = None  # the step has it now
    turn.changed_errand(errand)
    return outcome


def lost(turn: Turn, step: Step, errand: Errand) -> Failure | None:
    """How the errand was lost, from now on on record; None when it is on its way, or has been answered.

    From this moment nobody listens to its worker. Raises NeedsAttention when that has happened too often.
    """
    if _absence(turn, errand) is None:
        return None
    with own_transaction():
        turn.lock()
        errand.refresh_from_db()
        absence = _absence(turn, errand)
        if absence is None:
            return None
        until = (errand.lease_until or turn.now()) + timedelta(seconds=MARGIN)
        step.not_before = None if absence.proven and step.effect == "write" else until
        turn.changed(step)
        errand.lose()
        turn.changed_errand(errand)
        turn.run.crashes += 1
        said = _how(turn, errand)
        turn.note("errand.lost", f"{step.name}: {said}", step, worker=errand.lease_owner, why=absence.reason)
        turn.commit(changes={"crashes": turn.run.crashes})
    if turn.run.crashes >= MAX_CRASHES:
        sentence = (
            f"The worker of {step.name} died {turn.run.crashes} times; it is not tried again by itself."
        )
        raise turn.stop(NeedsAttention("poison", sentence, step=step.id))
    return Failure(FailureClass.TRANSIENT, said)


def _absence(turn: Turn, errand: Errand) -> workers.Absence | None:
    if errand.state != ErrandState.TAKEN:
        return None
    gone = workers.Presence().of(errand.lease_owner)
    if gone is None and errand.lease_until is not None and errand.lease_until <= turn.now():
        return workers.Absence("its lease ran out", proven=False)
    return gone


def _how(turn: Turn, errand: Errand) -> str:
    ends = (errand.lease_until or turn.now()) - timedelta(seconds=MARGIN)
    return f"it did not end within {errand.timeout:g} s" if turn.now() >= ends else LOST


def give_up(turn: Turn, step: Step) -> list[Entry]:
    """In the transaction that closes `step`, with the run locked: what was not begun is cancelled, what was
    answered is recorded, and what may have changed the world is left as unknown.
    """
    errand, call = turn.errand_of(step), turn.call_of(step)
    if errand is None:
        return []
    if not turn.is_new_errand(errand):
        errand.refresh_from_db()
    if errand.state == ErrandState.DONE:
        return _take_over(turn, step, call, errand)
    begun = errand.state == ErrandState.TAKEN
    if begun and step.effect in CHANGES_THE_WORLD:
        # Its worker is still heard: an answer that it happened settles it.
        until = (errand.lease_until or turn.now()) + timedelta(seconds=MARGIN)
        return [leave_unknown(turn, step, call, until=until)]
    errand.lose()
    turn.changed_errand(errand)
    call.cancel()
    turn.changed_call(call)
    said = "is given up; its answer will not count" if begun else "is given up before it was begun"
    entry = Entry("call.given_up", f"{step.name} {said}", {"call": call.id}, step.id)
    if step.in_doubt:
        return [entry, leave_unknown(turn, step, last_failed(step))]
    step.cancel()
    turn.changed(step)
    return [entry]


def _take_over(turn: Turn, step: Step, call: ToolCall, errand: Errand) -> list[Entry]:
    outcome = heard(errand.outcome)
    errand.read()
    errand.outcome = None
    turn.changed_errand(errand)
    if outcome.failure is None:
        return _record(turn, step, call, outcome)
    if not changed_nothing(Effect(step.effect), outcome.failure, in_doubt=step.in_doubt):
        return [leave_unknown(turn, step, call, said=outcome.failure.message)]
    call.fail()
    call.failure_class, call.error = outcome.failure.kind.value, outcome.failure.message
    call.finished_at = turn.now()
    turn.changed_call(call)
    step.cancel()
    turn.changed(step)
    return []


def _record(turn: Turn, step: Step, call: ToolCall, outcome: Outcome) -> list[Entry]:
    step.succeed()
    step.error, step.not_before = None, None
    sealed = {"result": digest(outcome.result), **keep_result(turn, step, outcome.result)}
    turn.finished(step)
    call.succeed()
    call.result_digest, call.finished_at = sealed["result"], step.finished_at
    turn.changed_call(call)
    return [Entry("call.succeeded", f"{step.name}: done, though nobody waits for it", sealed, step.id)]
