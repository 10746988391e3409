"""Having a call undone: by a call of its own, in a run of its own, through the gate like any other."""

from __future__ import annotations

from typing import Any

from runs.actors import acting_as, plain_name
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Run, Step
from runs.services.calling import call_tool
from runs.services.record import NotPossible, append_entries, lock_run, said_why
from runs.states import RunState
from runs.turns.checkpoint import own_transaction
from runs.values import ContentLost, result_of
from tools import registry
from tools.canonical import new_id
from tools.contract import ContractError, InvalidArguments, Tool
from tools.failures import classify
from tools.models import CallState, Compensation, ToolCall
from tools.services import CallNotFound


def roll_back(call_id: str, *, actor: str, reason: str) -> Run:
    """Have the tool that the `rollback` of the call's tool names undo it; returns the run that does.

    That run asks the gate as any call does, in the name of `actor`. Raises CallNotFound, NotPossible for a
    call that did not happen, that nothing undoes, or that is undone already, and QueueFull.
    """
    why = said_why(reason)
    call = ToolCall.objects.filter(pk=call_id).first()
    if call is None:
        raise CallNotFound(f"There is no tool call {call_id}")
    tool, arguments = _what_undoes(call)
    with own_transaction(), acting_as(actor):
        run = lock_run(call.run_id)
        _refuse_twice(call)
        made = call_tool(
            tool.name, arguments, actor=actor, intent=f"Undo {call.id}: {why}", source="roll_back"
        )
        given = {"call_id": call.id, "run_id": run.id, "undone_by": made.id, "tool": tool.name}
        row = Compensation(id=new_id("cmp"), by=actor, at=db_now(), reason=why, **given)
        row.save(force_insert=True)
        sentence = f"{plain_name(actor)} has {call.tool} undone by {tool.name}, in {made.id}: {why}"
        append_entries(
            run, [Entry("call.roll_back", sentence, {**given, "reason": why}, call.step_id)], actor=actor
        )
        undone = Entry("call.compensates", f"It undoes {call.tool}, {call.id} of {run.id}", given)
        append_entries(lock_run(made.id), [undone], actor=actor)
    return made


def undone_by(call_ids: list[str]) -> dict[str, tuple[Compensation, str]]:
    """Of these calls, those that somebody had undone: the last time, and the state of the run that did."""
    rows = {
        row.call_id: row for row in Compensation.objects.filter(call_id__in=call_ids).order_by("at", "id")
    }
    states = dict(
        Run.objects.filter(pk__in=[row.undone_by for row in rows.values()]).values_list("id", "state")
    )
    return {call_id: (row, states.get(row.undone_by, "")) for call_id, row in rows.items()}


def may_be_undone(call: ToolCall) -> bool:
    """Whether the code here says how a call such as this one is undone, and it happened."""
    try:
        tool = registry.get(call.tool)
    except registry.UnknownTool:
        return False
    return call.state == CallState.SUCCEEDED and tool.has("undo") and registry.rollback_of(tool) is not None


def _what_undoes(call: ToolCall) -> tuple[Tool, dict[str, Any]]:
    """The tool that undoes `call`, and its arguments: asked of users' code, outside of any transaction."""
    if call.state != CallState.SUCCEEDED:
        raise NotPossible(f"{call.id} is {call.state}: only a call that happened can be undone.")
    try:
        tool = registry.get(call.tool)
    except registry.UnknownTool as error:
        raise NotPossible(f"{error}.", code="tool") from error
    undoer = registry.rollback_of(tool)
    if undoer is None or not tool.has("undo"):
        told = f" It says: {tool.rollback}" if tool.rollback and undoer is None else ""
        raise NotPossible(f"No tool undoes {tool.name}.{told}", code="tool")
    step = Step.objects.get(pk=call.step_id)
    if step.arguments is None:
        raise NotPossible(f"What {call.id} was given is kept no longer, so nobody can undo it from here.")
    try:
        asked = tool.call(step.arguments, call.key, call.run_id, call.step_id)
        return undoer, undoer.validate(tool.undoing(asked, result_of(step)))
    except ContentLost as error:
        raise NotPossible(str(error)) from error
    except (ContractError, InvalidArguments) as error:
        raise NotPossible(
            f"The undo of {tool.name} does not fit {undoer.name}: {error}", code="tool"
        ) from error
    except Exception as error:
        raise NotPossible(f"The undo of {tool.name} broke: {classify(error).message}", code="tool") from error


def _refuse_twice(call: ToolCall) -> None:
    """One that is being undone, or was, is not undone once more; after a refusal or failure it may be."""
    last = Compensation.objects.filter(call_id=call.id).last()
    if last is None:
        return
    run = Run.objects.get(pk=last.undone_by)
    who = f"{plain_name(last.by)} had it undone at {last.at:%Y-%m-%d %H:%M:%S} UTC by {run.id}"
    calls = ToolCall.objects.filter(run_id=run.id)
    if run.state == RunState.SUCCEEDED or calls.filter(state=CallState.SUCCEEDED).exists():
        raise NotPossible(f"{call.id} is undone: {who}.")
    if not run.ended or calls.filter(state=CallState.UNKNOWN).exists():
        raise NotPossible(f"{call.id} is being undone: {who}, which is {run.state}.")
