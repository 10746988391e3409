"""One attempt of a tool: intent before act, then what came of it; the effect decides what a failure means."""

from __future__ import annotations

import time
from functools import partial

from runs.crew import pace
from runs.errands import outcomes
from runs.errands import sending as errands
from runs.errands.outcomes import Outcome
from runs.gate import Go, Refuse
from runs.models import Step
from runs.steps import protecting
from runs.steps.doubt import Seen, ended_as_undone, look, lost, may_arrive_until, settled_by_lookup
from runs.steps.drift import note_misfit
from runs.steps.guards import before
from runs.steps.proposal import Proposal
from runs.steps.record import (
    close,
    give_up,
    leave_unknown,
    passing_error,
    refuse,
    stand_still,
    succeeded,
    tried_since,
    wait,
)
from runs.stops import Fenced, Stop, Suspend, Unreachable
from runs.turns.turn import MARGIN, SLOW, Turn
from tools import calling, guarded
from tools.canonical import new_id
from tools.effects import Effect
from tools.failures import Failure, FailureClass
from tools.models import ToolCall
from tools.retry import Action, decide, needs_a_person


def intend(turn: Turn, proposal: Proposal, step: Step, verdict: Go | None) -> None:
    """Put the attempt on record, with a lease that outlives it, before anything is done."""
    tool = proposal.tool
    elsewhere = errands.goes_elsewhere(turn, tool)
    lease = turn.lease_for(0 if elsewhere else tool.timeout)
    sent_from_here = tool.effect.changes_the_world and not elsewhere
    step.not_before = turn.clock.after(lease + MARGIN) if sent_from_here else None
    call = ToolCall(
        id=new_id("call"),
        step_id=step.id,
        run_id=turn.run.id,
        tool=tool.name,
        version=tool.version,
        effect=tool.effect.value,
        attempt=step.attempt,
        key=step.key,
        arguments_digest=proposal.arguments_digest,
        not_before=step.not_before,
        started_at=turn.now(),
    )
    turn.new_call(call)
    if elsewhere:
        errands.prepare(turn, tool, call)
    said = f"Calls {tool.title}" + (f", attempt {step.attempt}" if step.attempt > 1 else "")
    policy = {"policy": verdict.policy, "approval": verdict.approval_id} if verdict else {}
    turn.note("call.started", said, step, tool=tool.name, key=step.key, arguments=step.fingerprint, **policy)
    try:
        turn.intend(lease, step)
    except Stop as reason:
        if not isinstance(reason, Fenced | Unreachable):  # then another worker may have begun it
            protecting.not_begun(turn, proposal)
        raise
    if elsewhere:
        errands.send(tool, call)


def act(turn: Turn, proposal: Proposal, step: Step) -> None:
    """Make the call whose intent is on record, or hear the worker that makes it; record what came of it."""
    with turn.needing_the_database():
        errand = errands.of(turn, step)
        heard = None if errand is None else errands.hear(turn, errand)
        call = turn.call_of(step)
    began = time.monotonic()
    outcome = heard or _done(turn, proposal, step, call)
    if outcome.failure is not None:
        _failed(turn, proposal, step, call, outcome.failure, refused=outcome.refused)
        return
    succeeded(turn, step, call, outcome.result, said=f"{proposal.tool.title}: done")
    if proposal.tool.effect.changes_the_world or time.monotonic() - began > SLOW:
        turn.commit()


def _done(turn: Turn, proposal: Proposal, step: Step, call: ToolCall) -> Outcome:
    """What the body came to, carried out now."""
    tool = proposal.tool
    if tool.effect.changes_the_world:
        turn.must_still_own(tool.timeout, step.not_before)
    began, failed = time.monotonic(), None
    try:
        result = turn.perform(
            partial(calling.perform, tool, proposal.arguments, step.key, call.id),
            timeout=tool.timeout,
            waits=tool.effect.changes_the_world,
            slow=pace.is_slow(tool.name),
        )
    except Exception as error:
        failed = error
    finally:
        pace.took(tool.name, time.monotonic() - began)
    guarded.over(tool, step.key, failed, time.monotonic() - began)
    return Outcome(result=result) if failed is None else outcomes.failed(failed)


def _failed(
    turn: Turn, proposal: Proposal, step: Step, call: ToolCall, failure: Failure, *, refused: bool
) -> None:
    note_misfit(turn, proposal.tool, call, failure)
    tried, since = tried_since(step)
    elapsed = (turn.now() - since).total_seconds()
    tool = proposal.tool
    decision = decide(tool.effect, failure, tried, elapsed, tool.retry, in_doubt=step.in_doubt)
    if decision.action is Action.UNKNOWN:
        lost(turn, proposal, step, call, failure)
        return
    call.refuse() if refused else call.fail()
    close(turn, step, call, failure)
    away = None
    if decision.action is Action.RETRY and not decision.in_doubt:
        away = protecting.away(turn, proposal)
    if away is not None:
        give_up(turn, step, away)
    elif decision.action is Action.RETRY:
        wait(turn, step, failure, turn.clock.after(decision.wait), in_doubt=decision.in_doubt)
    elif refused:
        refuse(turn, step, Refuse("tool", failure.message))
        turn.commit()
    elif tool.on_used_up == "incident" and needs_a_person(decision, failure):
        stand_still(turn, step, failure, decision.action.value)
    else:
        give_up(turn, step, failure)


def recover(turn: Turn, proposal: Proposal, step: Step) -> None:
    """The worker that began this attempt is gone, and nobody wrote how it ended."""
    errand = errands.of(turn, step)
    failure: Failure | None = Failure(FailureClass.TRANSIENT, errands.LOST)
    if errand is not None:
        failure = errands.lost(turn, step, errand)
    if failure is None:
        return  # it is on its way, or answered
    effect, call = proposal.tool.effect, turn.call_of(step)
    in_doubt = effect.changes_the_world
    if in_doubt:
        until = may_arrive_until(turn, step)
        if until is not None:
            raise turn.stop(
                Suspend(f"{until:%H:%M:%S} UTC, when a lost call can no longer arrive", until=until)
            )
        seen = look(turn, proposal, step, call)
        if seen is Seen.HAPPENED:
            return
        proven = seen is Seen.NOT_THERE and proposal.tool.lookup_is_final
        if effect is Effect.IRREVERSIBLE and not proven:
            leave_unknown(turn, step, call, failure)
        in_doubt = not proven
    before(turn, proposal)
    if not proposal.is_of_another_version(step):
        protecting.begin(turn, proposal)
    call.fail()
    close(turn, step, call, failure)
    step.error = passing_error(step, failure, in_doubt=in_doubt)
    if proposal.is_of_another_version(step):
        step.wait()  # nobody was asked about this version: the caller has them asked
        turn.changed(step)
        return
    turn.restart(step)
    intend(turn, proposal, step, None)


def try_again(turn: Turn, proposal: Proposal, step: Step) -> None:
    """The next attempt, when it is due and nothing shows that an earlier one had happened."""
    if step.due_at is not None and turn.now() < step.due_at:
        raise turn.stop(Suspend(f"the next attempt of {step.name}", until=step.due_at))
    if step.in_doubt:
        if settled_by_lookup(turn, proposal, step):
            return
        if not step.in_doubt and ended_as_undone(turn, proposal, step):
            return
    before(turn, proposal)
    protecting.begin(turn, proposal)
    turn.restart(step)
    intend(turn, proposal, step, None)
