"""What a person does with a call that stands still for them: try it again, answer for it, or let it fail."""

from __future__ import annotations

from typing import Any

from runs.actors import acting_as, plain_name
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Run, Step
from runs.services.again import begin_anew
from runs.services.control import let_go_on
from runs.services.record import NotPossible, append_entries, lock_run, said_why
from runs.services.standing import how_it_stands
from runs.states import RunState
from runs.turns.checkpoint import own_transaction
from runs.values import store_result
from tools import registry
from tools.canonical import Json, digest
from tools.contract import InvalidOutput

CODE = "tool_failed"


def retry_call(run_id: str, *, actor: str, reason: str) -> Run:
    """Have the call tried again, with its own key and as often as at first; its rules and the gate are asked
    anew.

    This and the other verbs raise NotFound, and NotPossible without a reason or where no call of the run
    stands still for a person.
    """
    why = said_why(reason)
    with own_transaction(), acting_as(actor):
        run, step = _standing(run_id)
        begin_anew(step)
        return _done(run, step, actor, why, "call.tried_again", "has it tried again")


def answer_call(run_id: str, result: Any, *, actor: str, reason: str) -> Run:
    """Give the result of the call by hand, as JSON that fits the tool's contract: nothing of it had happened,
    and whatever was done since was done by people.
    """
    why = said_why(reason)
    with own_transaction(), acting_as(actor):
        run, step = _standing(run_id)
        answer = _as_result(step, result)
        step.succeed()
        store_result(step, answer, db_now())
        step.error, step.due_at, step.not_before, step.finished_at = None, None, None, db_now()
        return _done(run, step, actor, why, "call.answered", "answered for it by hand", result=digest(answer))


def stop_call(run_id: str, *, actor: str, reason: str) -> Run:
    """Let the call fail for good: the workflow, or the agent, hears of it and decides."""
    why = said_why(reason)
    with own_transaction(), acting_as(actor):
        run, step = _standing(run_id)
        error = step.error or {}
        step.fail()
        step.error = {"kind": error.get("kind", "fatal"), "message": error.get("message", "")}
        step.due_at, step.finished_at = None, db_now()
        return _done(run, step, actor, why, "step.failed", "let it fail")


def _standing(run_id: str) -> tuple[Run, Step]:
    """The run, locked, and its step that stands still for a person."""
    run = lock_run(run_id)
    attention = run.attention or {}
    step = Step.objects.filter(pk=attention.get("step", ""), run_id=run.pk).first()
    halted = run.state == RunState.NEEDS_ATTENTION and attention.get("code") == CODE
    if not halted or step is None or not step.asks_a_person:
        raise NotPossible(f"{how_it_stands(run)} No call of it waits for a person.")
    return run, step


def _as_result(step: Step, result: Any) -> Json:
    try:
        return registry.get(step.name).as_result(result)
    except (registry.UnknownTool, InvalidOutput) as error:
        raise NotPossible(f"That cannot be the result of {step.name}: {error}", code="result") from error


def _done(run: Run, step: Step, actor: str, why: str, kind: str, said: str, **content: str) -> Run:
    step._change_reason = why  # type: ignore[attr-defined]
    step.save()
    sentence = f"{step.name}: {plain_name(actor)} {said}: {why}"
    append_entries(run, [Entry(kind, sentence, {"reason": why, **content}, step.id)], actor=actor)
    let_go_on(run, f"{step.name}: {plain_name(actor)} {said}", actor)
    return run
