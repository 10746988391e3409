"""A tool call as a step: the tool's own rules, the gate, and then the attempt."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.db import transaction

from runs import budget, gate
from runs.gate import Go, Hold, ProposedCall, Refuse
from runs.models import Step
from runs.states import StepState
from runs.steps import protecting
from runs.steps.attempt import act, intend, recover, try_again
from runs.steps.doubt import LOOK_AGAIN, leave_in_doubt, settled_by_lookup
from runs.steps.guards import before
from runs.steps.proposal import Proposal, as_proposed, hook_call, new_step
from runs.steps.record import ask_a_person, give_up, outcome_of, refuse
from runs.stops import Diverged, Suspend
from runs.turns.checkpoint import own_transaction
from runs.turns.turn import LEASE, Turn
from tools.canonical import new_id
from tools.contract import ContractError, InvalidOutput
from tools.failures import FailureClass, Refused, ToolError, classify

#: What the hooks of a tool may raise; whatever breaks in them is one of these.
_OF_A_HOOK = (ToolError, ContractError)
_MAY_PASS = (FailureClass.TRANSIENT, FailureClass.RATE_LIMITED)


def run_tool(turn: Turn, proposal: Proposal) -> Any:
    """The result of the proposed call as JSON: from the record, or by making the call now.

    Raises Refused, Rejected, Expired and ToolFailed for the workflow to handle, and Suspend, NeedsAttention
    and Fenced, which end the turn.
    """
    step = _find(turn, proposal)
    if step is None or not step.ended:
        turn.lanes.make_room()
        proposal = proposal if step is None else proposal.asked_by(step)
    with turn.needing_the_database():
        step = _ready(turn, proposal)
    if step.state == StepState.STARTED:
        act(turn, proposal, step)
    return outcome_of(turn, step)


def read_back(turn: Turn, proposal: Proposal, result: Any) -> Any:
    """The recorded `result` as the type that the tool declares.

    Raises InvalidOutput; and Diverged, which ends the turn and fails nothing, when it was recorded under
    another version and does not fit this one.
    """
    try:
        return proposal.tool.restore(result)
    except InvalidOutput as error:
        if not proposal.is_of_another_version(turn.steps[proposal.path]):
            raise
        tool = proposal.tool
        recorded = f"a result of another version of {tool.name}"
        asked = (
            f"a result that fits version {tool.version} ({'; '.join(error.problems)}); make what older "
            "results do not have optional in it, deploy that, and resume the run"
        )
        raise turn.stop(Diverged(proposal.path, recorded, asked)) from error


def _ready(turn: Turn, proposal: Proposal) -> Step:
    """The step as far as it can come without acting: ended, or started with its intent on record."""
    step = _find(turn, proposal)
    if step is None:
        step = _propose(turn, proposal)
        if step.state == StepState.HELD:
            raise turn.stop(_undecided(proposal))
    elif step.state == StepState.STARTED and turn.taken_over(step):
        recover(turn, proposal, step)
    if step.state == StepState.WAITING:
        _go_on(turn, proposal, step)
    if step.state == StepState.HELD:
        _take_answer(turn, proposal, step)
    return step


def _go_on(turn: Turn, proposal: Proposal, step: Step) -> None:
    """The next attempt. What no gate has seen in this form is asked about as at the first time."""
    if step.asks_a_person:
        ask_a_person(turn, step)
    again = (step.error or {}).get("again")
    if not again and not proposal.is_of_another_version(step):
        try_again(turn, proposal, step)
        return
    if not again:
        step.attempt += 1
        step.error = {**(step.error or {}), "again": True}
    _once_more(turn, proposal, step)


def review(turn: Turn, proposal: Proposal) -> bool:
    """Whether the call may be made now; opens the request that it needs. Raises what `run_tool` would."""
    with turn.needing_the_database():
        return _review(turn, proposal)


def _review(turn: Turn, proposal: Proposal) -> bool:
    step = _find(turn, proposal)
    if step is not None and not step.ended:
        proposal = proposal.asked_by(step)
    if step is None:
        try:
            verdict, _ = _verdict(turn, proposal, new_id("stp"))
        except Refused:
            raise
        except _OF_A_HOOK:
            return True  # making the call puts it on record
        if isinstance(verdict, Go):
            return True
        step = _propose(turn, proposal)
    if step.state == StepState.HELD:
        try:
            proposed = as_proposed(turn, proposal, step.id)
            verdict = gate.installed().review(proposed)
        except _OF_A_HOOK:
            return True
        if isinstance(verdict, Hold):
            _ask_anew(turn, proposed, verdict)
            return False
        if isinstance(verdict, Refuse):
            refuse(turn, step, verdict)
    if step.state == StepState.REFUSED:
        outcome_of(turn, step)
    return True


def _find(turn: Turn, proposal: Proposal) -> Step | None:
    return turn.find(
        proposal.path,
        "tool",
        proposal.tool.name,
        proposal.fingerprint,
        arguments=proposal.arguments,
        fits=proposal.fits,
    )


# The gate


def _propose(turn: Turn, proposal: Proposal) -> Step:
    """The first time: ask the tool's own rules, then the gate; the step is started, held or refused."""
    step_id = new_id("stp")
    try:
        verdict, proposed = _verdict(turn, proposal, step_id)
        if isinstance(verdict, Go):
            protecting.begin(turn, proposal)
    except Refused as error:
        verdict, proposed = Refuse("tool", classify(error).message), None
    except _OF_A_HOOK as error:
        give_up(turn, new_step(turn, proposal, step_id, StepState.STARTED), classify(error))
        return turn.steps[proposal.path]
    if isinstance(verdict, Hold):
        assert proposed is not None  # noqa: S101 - whoever holds it has seen it
        return _hold(turn, proposal, proposed, verdict)
    step = new_step(turn, proposal, step_id, StepState.STARTED)
    if isinstance(verdict, Refuse):
        refuse(turn, step, verdict)
        return step
    intend(turn, proposal, step, verdict)
    return step


def _verdict(turn: Turn, proposal: Proposal, step_id: str) -> tuple[gate.Verdict, ProposedCall]:
    before(turn, proposal)
    budget.must_allow(turn, "tool")
    if proposal.tool.effect.changes_the_world:
        proposal.tool.check(hook_call(turn, proposal, step_id))
    proposed = as_proposed(turn, proposal, step_id)
    return gate.installed().review(proposed), proposed


def _hold(turn: Turn, proposal: Proposal, proposed: ProposedCall, hold: Hold) -> Step:
    """Park the step and ask a person: request, step and journal in one transaction."""
    with own_transaction():
        turn.lock()
        step = new_step(turn, proposal, proposed.step_id, StepState.HELD)
        turn.pending.entries += gate.installed().open(proposed, hold)
        turn.intend(LEASE, step)
    return step


def _ask_anew(turn: Turn, proposed: ProposedCall, hold: Hold) -> None:
    """What stands open is about another form of the call: people are asked about this one instead."""
    if hold.request is None:
        return
    with own_transaction():
        turn.lock()
        turn.pending.entries += gate.installed().open(proposed, hold)
        turn.commit(intent=True)


def _once_more(turn: Turn, proposal: Proposal, step: Step) -> None:
    """A person has it tried again: the tool's own rules and the gate are asked as at the first time."""
    if step.due_at is not None and turn.now() < step.due_at:
        raise turn.stop(Suspend(f"the next attempt of {step.name}", until=step.due_at))
    if step.in_doubt and settled_by_lookup(turn, proposal, step):
        return
    _take_answer(turn, proposal, step)


def _take_answer(turn: Turn, proposal: Proposal, step: Step) -> None:
    """What was decided about a held call; a yes is used up in the transaction that writes the intent."""
    try:
        proposed = as_proposed(turn, proposal, step.id)
    except _OF_A_HOOK as error:
        _rules_broke(turn, step, error)
        return
    protecting.begin_decided(turn, proposal, step.id)
    with own_transaction():
        turn.lock(under_orders=True)
        verdict = gate.installed().answer(proposed)
        if isinstance(verdict, Go):
            before(turn, proposal)
            verdict = _still_allowed(turn, proposal, step, verdict)
        if isinstance(verdict, Go):
            step.start()
            step.epoch = turn.run.lease_epoch
            turn.changed(step)
            turn.pending.uses[step.id] = verdict.uses
            intend(turn, proposal, step, verdict)
            return
        protecting.not_begun(turn, proposal)
        if isinstance(verdict, Hold):
            _stay_held(turn, step, proposed, verdict)
        elif not step.in_doubt:
            refuse(turn, step, verdict)
            turn.commit()
    if isinstance(verdict, Hold):
        raise turn.stop(_undecided(proposal))
    if step.in_doubt:
        leave_in_doubt(turn, step, verdict)


def _stay_held(turn: Turn, step: Step, proposed: ProposedCall, hold: Hold) -> None:
    if step.state != StepState.HELD:
        step.hold()
        turn.changed(step)
    if hold.request is not None:  # it changed since somebody said yes: they are asked again
        turn.pending.entries += gate.installed().open(proposed, hold)
        turn.commit(intent=True)


def _still_allowed(turn: Turn, proposal: Proposal, step: Step, yes: Go) -> Go | Refuse:
    """What was true when a person looked may have changed since: the tool's own rules are asked again."""
    # Inside a transaction a failed statement of the tool's must not spoil the engine's.
    guard = transaction.atomic() if proposal.tool.has("precondition") else nullcontext()
    try:
        with guard:
            proposal.tool.check(hook_call(turn, proposal, step.id))
    except Refused as error:
        return Refuse("tool", classify(error).message, approval_id=yes.approval_id)
    except Exception as error:
        failure = classify(error)
        if failure.kind not in _MAY_PASS:
            return Refuse("tool", f"its rules could not be asked: {failure.message}")
        # The yes stands, and is used up only when the call can be made.
        raise turn.stop(Suspend("the tool's own rules", until=turn.clock.after(LOOK_AGAIN))) from error
    return yes


def _rules_broke(turn: Turn, step: Step, error: Exception) -> None:
    """The facts that a held call is decided by cannot be had: without them it is not made."""
    failure = classify(error)
    if failure.kind in _MAY_PASS or step.in_doubt:
        raise turn.stop(Suspend("the tool's own rules", until=turn.clock.after(LOOK_AGAIN))) from error
    with own_transaction():
        turn.lock()
        reason = f"its facts could not be had: {failure.message}"
        turn.pending.entries += gate.installed().withdraw(turn.run.id, reason, step_id=step.id)
        refuse(turn, step, Refuse("tool", reason))
        turn.commit()


def _undecided(proposal: Proposal) -> Suspend:
    return Suspend(f"a decision: {proposal.tool.title}")
