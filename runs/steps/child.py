"""A child run as a step: begun in the transaction that records the step, waited for as rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import IntegrityError

from runs import workflow
from runs.journal import Entry
from runs.models import Run, Step
from runs.services.activation import choose_version
from runs.services.children import KIND
from runs.services.start import new_run, once_of
from runs.states import RunState, StepState
from runs.stops import NeedsAttention, Suspend
from runs.turns.checkpoint import own_transaction
from runs.turns.turn import LEASE, Turn
from runs.workflow import UnknownWorkflow, Workflow
from tools.canonical import digest, normalise

ID_LENGTH = 26
MAX_KEY = 200


class ChildFailed(Exception):  # noqa: N818 - workflow code reads `except ChildFailed as child`
    """A child run came to no result: `run_id` is the one that ended, `workflow` what it ran, `reason` why."""

    word = "failed"

    def __init__(self, run_id: str, workflow: str, reason: str) -> None:
        super().__init__(f"Child run {run_id} ({workflow}) {self.word}" + (f": {reason}" if reason else ""))
        self.run_id = run_id
        self.workflow = workflow
        self.reason = reason


class ChildCancelled(ChildFailed):
    """A person, or the policy about it, ended the child run before its end."""

    word = "was cancelled"


@dataclass(frozen=True)
class Order:
    """What a workflow asks for: `value` is JSON, `key` the business key."""

    workflow: str
    value: Any
    key: str
    wait: bool
    version: int | None
    intent: str

    @property
    def fingerprint(self) -> str:
        """Digest of what is asked for. The version is chosen once and then kept."""
        return digest(
            {"workflow": self.workflow, "value": self.value, "key": self.key, "wait": self.wait}
            | ({"version": self.version} if self.version is not None else {})
        )


def order(
    what: Callable[..., Any] | str, value: Any, key: str, wait: bool, version: int | None, intent: str
) -> Order:
    """What `run.child` was given, checked. Raises TypeError for a function that is no workflow, ValueError
    for a key that is too long, NotJson.
    """
    name = what if isinstance(what, str) else workflow.name_of(what)
    key = str(normalise(key)).strip()
    if len(key) > MAX_KEY:
        raise ValueError(f"key: it has {len(key)} characters; shorten it to {MAX_KEY}")
    return Order(name, normalise(value), key, wait, version, intent)


def run_child(turn: Turn, path: str, asked: Order) -> Any:
    """The result of the child as the type that its workflow returns; without waiting, the id of the child.

    Raises UnknownWorkflow, NotActive and InvalidInput at the first time, ChildFailed and ChildCancelled, and
    Suspend while the child goes on.
    """
    step = turn.find(path, KIND, asked.workflow, asked.fingerprint, arguments=asked.value)
    if step is None:
        with turn.needing_the_database():
            step = _begin(turn, path, asked)
    if step.state == StepState.WAITING:
        raise turn.stop(Suspend(f"child run {step.name}"))
    return _outcome(turn, step, asked)


def _begin(turn: Turn, path: str, asked: Order) -> Step:
    definition = choose_version(asked.workflow, asked.version)
    recorded = definition.check_input(asked.value)
    child_id = _id_of_child(turn, path)
    step = turn.new_step(
        path,
        KIND,
        asked.workflow,
        asked.fingerprint,
        state=StepState.WAITING.value,
        arguments={"run": child_id, "version": definition.version, "input": asked.value, "key": asked.key},
    )
    turn.alongside(partial(_start, turn, step, definition, recorded, asked))
    turn.intend(LEASE, step)
    return step


def _id_of_child(turn: Turn, path: str) -> str:
    """The same however often the beginning is tried; another one when a person has it done over."""
    before = Step.objects.filter(run_id=turn.run.id, path__startswith=f"{path}~").count()
    return f"run_{digest([turn.run.id, path, turn.run.generation, before])[:ID_LENGTH]}"


def _start(turn: Turn, step: Step, definition: Workflow, recorded: Any, asked: Order) -> list[Entry]:
    """In the transaction that records the step: the child's row, history and first journal entry."""
    if step.id not in turn.pending.new_steps:
        return []  # the intent was taken back
    child_id = _child_of(step)
    if not Run.objects.filter(pk=child_id).exists():
        try:
            with own_transaction():
                _write_child(turn.run, child_id, step, definition, recorded, asked, turn.actor)
        except IntegrityError:
            return [_refused(turn, step, asked)]
    if not asked.wait:
        step.succeed()
        step.result = child_id
        turn.finished(step)
    content = {"run": child_id, "version": definition.version, "waits": asked.wait}
    return [Entry("child.started", f"Started child run {child_id} ({definition.name})", content, step.id)]


def _write_child(
    parent: Run, child_id: str, step: Step, definition: Workflow, recorded: Any, asked: Order, actor: str
) -> None:
    new_run(
        definition,
        recorded,
        id=child_id,
        actor=actor,
        said=f"{parent.id} asked for {definition.name}" + (f": {asked.intent}" if asked.intent else ""),
        content={"parent": parent.id, "step": step.id},
        requester=parent.requester,
        source="run",
        intent=asked.intent,
        key=asked.key,
        once=once_of(definition.name, asked.key) if asked.key else None,
        priority=parent.priority,
        deadline=parent.deadline,
        parent_id=parent.id,
        parent_step=step.id,
        to_tell=parent.id if asked.wait else "",
    )


def _refused(turn: Turn, step: Step, asked: Order) -> Entry:
    """Another run holds the business key: the step has failed, and no child was started."""
    holder = Run.objects.filter(once=once_of(asked.workflow, asked.key)).values_list("id", flat=True).get()
    reason = f"{asked.workflow} was started for key {asked.key} already: {holder}"
    step.fail()
    step.error = {"kind": "duplicate_key", "message": reason, "run": holder}
    turn.finished(step)
    return Entry("step.failed", f"No child run was started: {reason}", step.error, step.id)


def _child_of(step: Step) -> str:
    return str((step.arguments or {}).get("run", ""))


def _outcome(turn: Turn, step: Step, asked: Order) -> Any:
    if step.state == StepState.SUCCEEDED:
        return _typed(turn, step) if asked.wait else step.result
    error = step.error or {}
    kind = ChildCancelled if error.get("kind") == RunState.CANCELLED else ChildFailed
    raise kind(error.get("run") or _child_of(step), step.name, str(error.get("message", "")))


def _typed(turn: Turn, step: Step) -> Any:
    try:
        definition = workflow.get(step.name, (step.arguments or {}).get("version"))
    except UnknownWorkflow as error:
        sentence = f"{error} Deploy it again, then resume the run."
        raise turn.stop(NeedsAttention("missing_code", sentence)) from None
    return definition.read_output(step.result)
