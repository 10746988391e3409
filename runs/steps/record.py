"""How a tool step ends: each ending written once, and told to the workflow the same on every replay."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NoReturn

from runs.actors import plain_name
from runs.agents.port import ToolFailed, Unavailable
from runs.gate import Expired, Next, Refuse, Rejected
from runs.models import Step
from runs.states import StepState
from runs.stops import NeedsAttention, Suspend
from runs.turns.turn import Turn
from runs.values import keep_result, recorded_result
from tools.canonical import digest
from tools.failures import Failure, FailureClass, Refused
from tools.models import ToolCall


def succeeded(turn: Turn, step: Step, call: ToolCall | None, result: Any, *, said: str) -> None:
    step.succeed()
    step.error, step.not_before = None, None
    beside = keep_result(turn, step, result)
    turn.finished(step)
    sealed = digest(result)
    if call is not None:
        call.succeed()
        call.result_digest, call.finished_at = sealed, step.finished_at
        turn.changed_call(call)
    turn.note("call.succeeded", said, step, result=sealed, **beside)
    if beside:
        turn.commit()  # not to hold it in memory


def close(turn: Turn, step: Step, call: ToolCall, failure: Failure) -> None:
    call.failure_class, call.error, call.finished_at = failure.kind.value, failure.message, turn.now()
    turn.changed_call(call)
    turn.note(
        "call.failed",
        f"{call.tool}: {failure.message}",
        step,
        failure=failure.kind.value,
        attempt=call.attempt,
    )


def passing_error(step: Step, failure: Failure, *, in_doubt: bool) -> dict[str, Any]:
    """What stands at a step that another attempt follows; from where attempts are counted stays."""
    counted = {name: value for name, value in (step.error or {}).items() if name == "counted_from"}
    return {"kind": failure.kind.value, "message": failure.message, "in_doubt": in_doubt, **counted}


def tried_since(step: Step) -> tuple[int, datetime]:
    """How many attempts were made, and since when, in this go: a person who has the step tried again begins
    another one.
    """
    before = (step.error or {}).get("counted_from")
    if before is None:
        return step.attempt, step.started_at
    return step.attempt - int(before["tried"]), datetime.fromisoformat(before["since"])


def wait(turn: Turn, step: Step, failure: Failure, until: datetime, *, in_doubt: bool) -> None:
    step.wait()
    step.due_at = until
    step.error = passing_error(step, failure, in_doubt=in_doubt)
    turn.changed(step)
    raise turn.stop(Suspend(f"the next attempt of {step.name}, at {until:%H:%M:%S} UTC", until=until))


def stand_still(turn: Turn, step: Step, failure: Failure, why: str) -> NoReturn:
    """Nothing was done, and it is not tried again by itself: the run stops until a person says what becomes
    of the step.
    """
    step.wait()
    step.due_at = None
    step.error = passing_error(step, failure, in_doubt=False) | {"incident": why}
    turn.changed(step)
    ask_a_person(turn, step)


def ask_a_person(turn: Turn, step: Step) -> NoReturn:
    message = (step.error or {}).get("message", "")
    said = f"{step.name} failed, and nothing was done: {message}"
    raise turn.stop(NeedsAttention("tool_failed", said, step=step.id))


def give_up(turn: Turn, step: Step, failure: Failure) -> None:
    step.fail()
    step.error = {"kind": failure.kind.value, "message": failure.message}
    turn.finished(step)
    turn.note("step.failed", f"{step.name} failed: {failure.message}", step, failure=failure.kind.value)
    turn.commit()


def refuse(turn: Turn, step: Step, verdict: Refuse) -> None:
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


def leave_unknown(turn: Turn, step: Step, call: ToolCall, failure: Failure) -> NoReturn:
    call.doubt()
    call.not_before = step.not_before
    close(turn, step, call, failure)
    step.lose()
    step.error = {
        "kind": FailureClass.UNKNOWN_OUTCOME.value,
        "message": failure.message,
        "call": call.id,
    }
    turn.changed(step)
    ask_for_settlement(turn, step)


def ask_for_settlement(turn: Turn, step: Step) -> NoReturn:
    raise turn.stop(
        NeedsAttention(
            "unknown_outcome",
            f"Nobody knows whether {step.name} happened: {(step.error or {}).get('message', '')}",
            step=step.id,
            call=(step.error or {}).get("call"),
        )
    )


def outcome_of(turn: Turn, step: Step) -> Any:
    """The recorded end of `step`: its result, or the exception that tells the workflow."""
    error = step.error or {}
    if step.state == StepState.SUCCEEDED:
        return recorded_result(turn, step)
    if step.state == StepState.UNKNOWN:
        ask_for_settlement(turn, step)
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
    failure = Failure(FailureClass(error.get("kind", "fatal")), error.get("message", ""))
    raise Unavailable(failure) if failure.kind is FailureClass.UNAVAILABLE else ToolFailed(failure)
