"""A call that may have happened: what its lookup proves, and when a person must say."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NoReturn

from runs.gate import Refuse
from runs.models import Step
from runs.services.closing import last_failed
from runs.steps.proposal import Proposal
from runs.steps.record import (
    close,
    give_up,
    leave_unknown,
    refuse,
    stand_still,
    succeeded,
    tried_since,
    wait,
)
from runs.stops import Suspend
from runs.turns.turn import Turn
from tools.effects import Effect
from tools.failures import Failure, FailureClass, Proof
from tools.models import ToolCall
from tools.retry import Action, decide, needs_a_person
from tools.unknown import CannotLook, look_up

LOOK_AGAIN = 30.0  # seconds until a lookup that gave no proof is asked again


class Seen(StrEnum):
    """What a tool's lookup says about a call in doubt."""

    HAPPENED = "happened"  # and its result is on record now
    NOT_THERE = "not_there"
    NO_ANSWER = "no_answer"  # there is no lookup, or it failed


def look(turn: Turn, proposal: Proposal, step: Step, call: ToolCall | None) -> Seen:
    """Ask the tool what became of the call; one that had happened ends the step."""
    if not proposal.tool.has("lookup"):
        return Seen.NO_ANSWER
    try:
        found = look_up(proposal.tool, step.key)
    except CannotLook as error:
        turn.note("call.not_found_out", f"{proposal.tool.title}: {error}", step)
        return Seen.NO_ANSWER
    if found is None:
        return Seen.NOT_THERE
    succeeded(turn, step, call, found, said=f"{proposal.tool.title}: it had happened, as its lookup shows")
    turn.commit()
    return Seen.HAPPENED


def lost(turn: Turn, proposal: Proposal, step: Step, call: ToolCall, failure: Failure) -> None:
    """It was sent and may have happened: look it up; if that does not settle it, a person must."""
    seen = look(turn, proposal, step, call)
    if seen is Seen.HAPPENED:
        return
    until = may_arrive_until(turn, step)
    if seen is Seen.NOT_THERE and proposal.tool.lookup_is_final and until is not None:
        # It may still arrive: the lookup is asked again when it no longer can.
        call.fail()
        close(turn, step, call, failure)
        wait(turn, step, failure, until, in_doubt=True)
    leave_unknown(turn, step, call, failure)


def may_arrive_until(turn: Turn, step: Step) -> datetime | None:
    """Until when a call whose worker was lost may still reach the outside; None when it no longer can."""
    return step.not_before if step.not_before is not None and turn.now() < step.not_before else None


def settled_by_lookup(turn: Turn, proposal: Proposal, step: Step) -> bool:
    """Before another attempt after one in doubt. What cannot be undone goes on only on proof.

    With proof that nothing had happened the doubt is over: `step` is no longer in doubt.
    """
    seen = look(turn, proposal, step, None)
    if seen is Seen.HAPPENED:
        return True
    until = may_arrive_until(turn, step)
    if seen is Seen.NOT_THERE and proposal.tool.lookup_is_final and until is None:
        step.error = {**(step.error or {}), "in_doubt": False}
    elif proposal.tool.effect is Effect.IRREVERSIBLE:
        until = until or turn.clock.after(LOOK_AGAIN)
        raise turn.stop(Suspend(f"an answer about {proposal.tool.title}", until=until))
    return False


def leave_in_doubt(turn: Turn, step: Step, refused: Refuse) -> NoReturn:
    """Another attempt is refused while an earlier one may have happened: that no is not how the call ended.

    A person settles it; if it had not happened, the no stands.
    """
    call = last_failed(step)
    step.not_before = step.not_before or call.not_before or turn.now()
    said = f"{call.error}; another attempt is refused: {refused.reason}"
    leave_unknown(turn, step, call, Failure(FailureClass.UNKNOWN_OUTCOME, said))


def ended_as_undone(turn: Turn, proposal: Proposal, step: Step) -> bool:
    """After proof that nothing had happened: whether the last failure ends the step for good.

    It does so by its class, as if the tool had said at once that nothing was done: a call that would fail
    again is not sent again, and one that may pass not more often than any other.
    """
    error = step.error or {}
    failure = Failure(FailureClass(error["kind"]), error["message"], proof=Proof.DECLARED)
    policy = proposal.tool.retry
    decision = decide(Effect.WRITE, failure, tried_since(step)[0], 0.0, policy)
    if decision.action is Action.RETRY:
        return False
    if failure.kind is FailureClass.REFUSED:
        refuse(turn, step, Refuse("tool", failure.message))
        turn.commit()
    elif proposal.tool.on_used_up == "incident" and needs_a_person(decision, failure):
        stand_still(turn, step, failure, decision.action.value)
    else:
        give_up(turn, step, failure)
    return True
