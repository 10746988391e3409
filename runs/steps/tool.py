"""A tool call as a step: gate, intent, act, record; the effect decides what happens when one of them
breaks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn

from runs import gate
from runs.actors import plain_name
from runs.agents.port import ToolFailed
from runs.checkpoint import own_transaction
from runs.gate import Expired, Go, Hold, Next, ProposedCall, Refuse, Rejected
from runs.models import Run, Step
from runs.states import StepState
from runs.stops import Fenced, NeedsAttention, Suspend
from runs.turn import MARGIN, SLOW, Turn
from tools.canonical import digest, new_id
from tools.contract import Call, Tool
from tools.effects import Effect
from tools.failures import Failure, FailureClass, Refused, ToolError, classify
from tools.models import ToolCall
from tools.retry import Action, decide
from tools.unknown import CannotLook, look_up

KEY_LENGTH = 40
LOOK_AGAIN = 30.0  # seconds until a lookup that gave no proof is asked again


@dataclass(frozen=True)
class Proposal:
    """What somebody wants to call, and why: `arguments` are validated."""

    path: str
    tool: Tool
    arguments: dict[str, Any]
    why: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    confidence: float | None = None
    agent: str = ""
    agent_version: str = ""
    model: str = ""

    @property
    def fingerprint(self) -> str:
        """Digest of what is asked for: another tool, version or argument is another step."""
        return digest({"tool": self.tool.name, "version": self.tool.version, "arguments": self.arguments})


def idempotency_key(run_id: str, path: str) -> str:
    """The key of the step at `path`: the same for every attempt, every replay and every worker."""
    return digest([run_id, path])[:KEY_LENGTH]


def run_tool(turn: Turn, proposal: Proposal) -> Any:
    """The result of the proposed call as JSON: from the record, or by making the call now.

    Raises Refused, Rejected, Expired and ToolFailed for the workflow to handle, and Suspend, NeedsAttention
    and Fenced, which end the turn.
    """
    step = _find(turn, proposal)
    if step is None:
        step = _propose(turn, proposal)
        if step.state == StepState.HELD:
            raise turn.stop(_undecided(proposal))
    elif step.state == StepState.STARTED and turn.taken_over(step):
        _recover(turn, proposal, step)
    elif step.state == StepState.WAITING:
        _try_again(turn, proposal, step)
    if step.state == StepState.HELD:
        _take_answer(turn, proposal, step)
    if step.state == StepState.STARTED:
        _act(turn, proposal, step)
    return _outcome_of(turn, step)


def review(turn: Turn, proposal: Proposal) -> bool:
    """Whether the call may be made now; opens the request that it needs. Raises what `run_tool` would."""
    step = _find(turn, proposal)
    if step is None:
        verdict = _verdict(turn, proposal, new_id("stp"))
        if isinstance(verdict, Go):
            return True
        step = _propose(turn, proposal)
    if step.state == StepState.HELD:
        verdict = gate.installed().review(_proposed(turn, proposal, step.id))
        if isinstance(verdict, Hold):
            return False
        if isinstance(verdict, Refuse):
            _refuse(turn, step, verdict)
    if step.state == StepState.REFUSED:
        _outcome_of(turn, step)
    return True


def _find(turn: Turn, proposal: Proposal) -> Step | None:
    return turn.find(proposal.path, "tool", proposal.tool.name, proposal.fingerprint)


# The gate


def _propose(turn: Turn, proposal: Proposal) -> Step:
    """The first time: ask the tool's own rules, then the gate; the step is started, held or refused."""
    step_id = new_id("stp")
    try:
        verdict = _verdict(turn, proposal, step_id)
    except Refused as error:
        verdict = Refuse("tool", error.reason)
    except ToolError as error:
        _give_up(turn, _new_step(turn, proposal, step_id, StepState.STARTED), classify(error))
        return turn.steps[proposal.path]
    if isinstance(verdict, Hold):
        return _hold(turn, proposal, step_id, verdict)
    step = _new_step(turn, proposal, step_id, StepState.STARTED)
    if isinstance(verdict, Refuse):
        _refuse(turn, step, verdict)
        return step
    _intend(turn, proposal, step, verdict)
    return step


def _verdict(turn: Turn, proposal: Proposal, step_id: str) -> gate.Verdict:
    _within_budget(turn, proposal)
    if proposal.tool.effect.changes_the_world:
        proposal.tool.check(_call(turn, proposal, step_id))
    return gate.installed().review(_proposed(turn, proposal, step_id))


def _within_budget(turn: Turn, proposal: Proposal) -> None:
    limit = turn.budget.tool_calls
    if limit is not None and turn.count("tool") >= limit:
        raise turn.stop(
            NeedsAttention("budget", f"The budget of {limit} tool calls is used up.", tool=proposal.tool.name)
        )


def _hold(turn: Turn, proposal: Proposal, step_id: str, hold: Hold) -> Step:
    """Park the step and ask a person: request, step and journal in one transaction."""
    with own_transaction():
        _lock(turn)
        step = _new_step(turn, proposal, step_id, StepState.HELD)
        turn.pending.entries += gate.installed().open(_proposed(turn, proposal, step_id), hold)
        turn.commit()
    return step


def _take_answer(turn: Turn, proposal: Proposal, step: Step) -> None:
    """What was decided about a held call; a yes is used up in the transaction that writes the intent."""
    with own_transaction():
        _lock(turn)
        proposed = _proposed(turn, proposal, step.id)
        verdict = gate.installed().answer(proposed)
        if isinstance(verdict, Go):
            verdict = _still_allowed(turn, proposal, step, verdict)
        if isinstance(verdict, Go):
            step.start()
            step.epoch = turn.run.lease_epoch
            turn.changed(step)
            _intend(turn, proposal, step, verdict)
            return
        if isinstance(verdict, Refuse):
            _refuse(turn, step, verdict)
            turn.commit()
            return
        if verdict.request is not None:  # it changed since somebody said yes: they are asked again
            turn.pending.entries += gate.installed().open(proposed, verdict)
            turn.commit()
    raise turn.stop(_undecided(proposal))


def _still_allowed(turn: Turn, proposal: Proposal, step: Step, yes: Go) -> Go | Refuse:
    """What was true when a person looked may have changed since: the tool's own rules are asked again."""
    try:
        proposal.tool.check(_call(turn, proposal, step.id))
    except Refused as error:
        return Refuse("tool", error.reason, approval_id=yes.approval_id)
    except Exception as error:
        failure = classify(error)
        if failure.kind is not FailureClass.TRANSIENT:
            return Refuse("tool", f"its rules could not be asked: {failure.message}")
        # The yes stands, and is used up only when the call can be made.
        raise turn.stop(Suspend("the tool's own rules", until=turn.clock.after(LOOK_AGAIN))) from error
    return yes


def _undecided(proposal: Proposal) -> Suspend:
    return Suspend(f"a decision: {proposal.tool.title}")


def _lock(turn: Turn) -> None:
    """The run row for this transaction, in the order switch, run, approval, step. Raises Fenced."""
    row = Run.objects.select_for_update().filter(
        pk=turn.run.id, lease_owner=turn.worker, lease_epoch=turn.run.lease_epoch
    )
    if not row.exists():
        raise turn.stop(Fenced(f"{turn.run.id} has another owner"))


def _refuse(turn: Turn, step: Step, verdict: Refuse) -> None:
    step.refuse()
    step.error = {
        "kind": verdict.kind,
        "message": verdict.reason,
        "next": verdict.next.value if verdict.next else None,
        "by": verdict.by,
        "approval": verdict.approval_id,
    }
    turn.finished(step)
    who = f" by {plain_name(verdict.by)}" if verdict.by else ""
    said = {"tool": "Not done, by the tool's own rules", "expired": "Nobody decided in time"}.get(
        verdict.kind, f"Refused{who}"
    )
    turn.note("call.refused", f"{said}: {verdict.reason}", step, **step.error)


def _new_step(turn: Turn, proposal: Proposal, step_id: str, state: StepState) -> Step:
    return turn.new_step(
        proposal.path,
        "tool",
        proposal.tool.name,
        proposal.fingerprint,
        step_id=step_id,
        state=state.value,
        arguments=proposal.arguments,
        effect=proposal.tool.effect.value,
        key=idempotency_key(turn.run.id, proposal.path),
        model=proposal.model,
    )


def _call(turn: Turn, proposal: Proposal, step_id: str) -> Call:
    key = idempotency_key(turn.run.id, proposal.path)
    return proposal.tool.call(proposal.arguments, key, turn.run.id, step_id)


def _proposed(turn: Turn, proposal: Proposal, step_id: str) -> ProposedCall:
    call = _call(turn, proposal, step_id)
    return ProposedCall(
        run_id=turn.run.id,
        step_id=step_id,
        path=proposal.path,
        workflow=turn.run.workflow,
        workflow_version=turn.run.version,
        tool=proposal.tool,
        arguments=proposal.arguments,
        arguments_digest=digest(proposal.arguments),
        key=call.key,
        requester=turn.run.requester,
        why=proposal.why,
        evidence=proposal.evidence,
        confidence=proposal.confidence,
        agent=proposal.agent,
        agent_version=proposal.agent_version,
        model=proposal.model,
        facts=proposal.tool.declared_facts(call) if proposal.tool.effect.changes_the_world else {},
    )


# The act


def _intend(turn: Turn, proposal: Proposal, step: Step, verdict: Go | None) -> None:
    """Put the attempt on record, with a lease that outlives it, before anything is done."""
    tool = proposal.tool
    lease = turn.lease_for(tool.timeout)
    step.not_before = turn.clock.after(lease + MARGIN) if tool.effect.changes_the_world else None
    turn.new_call(
        ToolCall(
            id=new_id("call"),
            step_id=step.id,
            run_id=turn.run.id,
            tool=tool.name,
            version=tool.version,
            effect=tool.effect.value,
            attempt=step.attempt,
            key=step.key,
            arguments_digest=digest(proposal.arguments),
            not_before=step.not_before,
            started_at=turn.now(),
        )
    )
    said = f"Calls {tool.title}" + (f", attempt {step.attempt}" if step.attempt > 1 else "")
    policy = {"policy": verdict.policy, "approval": verdict.approval_id} if verdict else {}
    turn.note("call.started", said, step, tool=tool.name, key=step.key, arguments=step.fingerprint, **policy)
    turn.commit(lease=lease)


def _act(turn: Turn, proposal: Proposal, step: Step) -> None:
    """Make the call whose intent is on record, and record what came of it."""
    tool = proposal.tool
    call = turn.call_of(step)
    if tool.effect.changes_the_world:
        turn.must_still_own(tool.timeout)
    began = time.monotonic()
    try:
        result = tool.invoke(proposal.arguments, step.key)
    except Exception as error:
        _failed(turn, proposal, step, call, error)
        return
    _succeeded(turn, step, call, result, said=f"{tool.title}: done")
    if tool.effect.changes_the_world or time.monotonic() - began > SLOW:
        turn.commit()


def _succeeded(turn: Turn, step: Step, call: ToolCall | None, result: Any, *, said: str) -> None:
    step.succeed()
    step.result, step.error, step.not_before = result, None, None
    turn.finished(step)
    sealed = digest(result)
    if call is not None:
        call.succeed()
        call.result_digest, call.finished_at = sealed, step.finished_at
        turn.changed_call(call)
    turn.note("call.succeeded", said, step, result=sealed)


def _failed(turn: Turn, proposal: Proposal, step: Step, call: ToolCall, error: Exception) -> None:
    failure = classify(error)
    elapsed = (turn.now() - step.started_at).total_seconds()
    doubt = bool((step.error or {}).get("in_doubt"))
    decision = decide(proposal.tool.effect, failure, step.attempt, elapsed, in_doubt=doubt)
    if decision.action is Action.UNKNOWN:
        _lost(turn, proposal, step, call, failure)
        return
    call.refuse() if isinstance(error, Refused) else call.fail()
    _close(turn, step, call, failure)
    if decision.action is Action.RETRY:
        _wait(turn, step, failure, turn.clock.after(decision.wait), in_doubt=decision.in_doubt)
    elif isinstance(error, Refused):
        _refuse(turn, step, Refuse("tool", error.reason))
        turn.commit()
    else:
        _give_up(turn, step, failure)


def _close(turn: Turn, step: Step, call: ToolCall, failure: Failure) -> None:
    call.failure_class, call.error, call.finished_at = failure.kind.value, failure.message, turn.now()
    turn.changed_call(call)
    turn.note(
        "call.failed",
        f"{call.tool}: {failure.message}",
        step,
        failure=failure.kind.value,
        attempt=call.attempt,
    )


def _wait(turn: Turn, step: Step, failure: Failure, until: datetime, *, in_doubt: bool) -> None:
    step.wait()
    step.due_at = until
    step.error = {"kind": failure.kind.value, "message": failure.message, "in_doubt": in_doubt}
    turn.changed(step)
    raise turn.stop(Suspend(f"the next attempt of {step.name}, at {until:%H:%M:%S} UTC", until=until))


def _give_up(turn: Turn, step: Step, failure: Failure) -> None:
    step.fail()
    step.error = {"kind": failure.kind.value, "message": failure.message}
    turn.finished(step)
    turn.note("step.failed", f"{step.name} failed: {failure.message}", step, failure=failure.kind.value)
    turn.commit()


# Outcomes that nobody knows


def _lost(turn: Turn, proposal: Proposal, step: Step, call: ToolCall, failure: Failure) -> None:
    """It was sent and may have happened: look it up; if that does not settle it, a person must."""
    seen = _look(turn, proposal, step, call)
    if seen is Seen.HAPPENED:
        return
    if seen is Seen.NOT_THERE and proposal.tool.lookup_is_final and turn.now() < _quiet_at(turn, step):
        # It may still arrive: the lookup is asked again when it no longer can.
        call.fail()
        _close(turn, step, call, failure)
        _wait(turn, step, failure, _quiet_at(turn, step), in_doubt=True)
    _leave_unknown(turn, step, call, failure)


def _leave_unknown(turn: Turn, step: Step, call: ToolCall, failure: Failure) -> NoReturn:
    call.doubt()
    call.not_before = step.not_before
    _close(turn, step, call, failure)
    step.lose()
    step.error = {
        "kind": FailureClass.UNKNOWN_OUTCOME.value,
        "message": failure.message,
        "call": call.id,
    }
    turn.changed(step)
    _ask_for_settlement(turn, step)


def _ask_for_settlement(turn: Turn, step: Step) -> NoReturn:
    raise turn.stop(
        NeedsAttention(
            "unknown_outcome",
            f"Nobody knows whether {step.name} happened: {(step.error or {}).get('message', '')}",
            step=step.id,
            call=(step.error or {}).get("call"),
        )
    )


class Seen(StrEnum):
    """What a tool's lookup says about a call in doubt."""

    HAPPENED = "happened"  # and its result is on record now
    NOT_THERE = "not_there"
    NO_ANSWER = "no_answer"  # there is no lookup, or it failed


def _look(turn: Turn, proposal: Proposal, step: Step, call: ToolCall | None) -> Seen:
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
    _succeeded(turn, step, call, found, said=f"{proposal.tool.title}: it had happened, as its lookup shows")
    turn.commit()
    return Seen.HAPPENED


def _quiet_at(turn: Turn, step: Step) -> datetime:
    return step.not_before or turn.now()


def _recover(turn: Turn, proposal: Proposal, step: Step) -> None:
    """The worker that began this attempt is gone, and nobody wrote how it ended."""
    effect, failure = (
        proposal.tool.effect,
        Failure(FailureClass.TRANSIENT, "its worker was lost in the middle"),
    )
    call = turn.call_of(step)
    if effect.changes_the_world:
        if turn.now() < _quiet_at(turn, step):
            until = _quiet_at(turn, step)
            raise turn.stop(
                Suspend(f"{until:%H:%M:%S} UTC, when a lost call can no longer arrive", until=until)
            )
        seen = _look(turn, proposal, step, call)
        if seen is Seen.HAPPENED:
            return
        proven = seen is Seen.NOT_THERE and proposal.tool.lookup_is_final
        if effect is Effect.IRREVERSIBLE and not proven:
            _leave_unknown(turn, step, call, failure)
    call.fail()
    _close(turn, step, call, failure)
    step.error = {
        "kind": failure.kind.value,
        "message": failure.message,
        "in_doubt": effect.changes_the_world,
    }
    turn.restart(step)
    _intend(turn, proposal, step, None)


def _try_again(turn: Turn, proposal: Proposal, step: Step) -> None:
    """The next attempt, when it is due and nothing shows that an earlier one had happened."""
    if step.due_at is not None and turn.now() < step.due_at:
        raise turn.stop(Suspend(f"the next attempt of {step.name}", until=step.due_at))
    if (step.error or {}).get("in_doubt") and _settled_by_lookup(turn, proposal, step):
        return
    turn.restart(step)
    _intend(turn, proposal, step, None)


def _settled_by_lookup(turn: Turn, proposal: Proposal, step: Step) -> bool:
    """Before another attempt after one in doubt. What cannot be undone goes on only on proof."""
    seen = _look(turn, proposal, step, None)
    if seen is Seen.HAPPENED:
        return True
    proven = seen is Seen.NOT_THERE and proposal.tool.lookup_is_final
    if proposal.tool.effect is Effect.IRREVERSIBLE and not proven:
        until = turn.clock.after(LOOK_AGAIN)
        raise turn.stop(Suspend(f"an answer about {proposal.tool.title}", until=until))
    return False


def _outcome_of(turn: Turn, step: Step) -> Any:
    """The recorded end of `step`: its result, or the exception that tells the workflow."""
    error = step.error or {}
    if step.state == StepState.SUCCEEDED:
        return step.result
    if step.state == StepState.UNKNOWN:
        _ask_for_settlement(turn, step)
    if step.state == StepState.REFUSED and error.get("kind") in ("rejected", "expired", "withdrawn"):
        verdict = Expired if error["kind"] == "expired" else Rejected
        raise verdict(
            error["message"],
            next=Next(error.get("next") or Next.STOP),
            by=error.get("by") or "",
            approval_id=error.get("approval") or "",
        )
    if step.state == StepState.REFUSED:
        raise Refused(error.get("message", ""))
    raise ToolFailed(Failure(FailureClass(error.get("kind", "fatal")), error.get("message", "")))
