"""Answering the question of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runs import actors, questions
from runs.actors import acting_as, plain_name
from runs.clock import db_now
from runs.journal import Entry
from runs.models import JournalEntry, Run, Step
from runs.services.record import NotFound, NotPossible, lock_run
from runs.services.waking import wake
from runs.states import StepState
from runs.turns.checkpoint import own_transaction
from runs.typed import Misfit, problems
from tools.canonical import NotJson, digest, normalise

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


class NotAllowed(Exception):  # noqa: N818 - read as a sentence where it is caught
    """This person may not do this; the message says why, and what can be done about it."""


class InvalidAnswer(Misfit):
    """An answer does not fit what was asked; `problems` lists each place in plain words."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The answer", problems)


def answer_question(step_id: str, value: Any, *, by: User | AnonymousUser) -> Step:
    """Answer the open question `step_id` with the JSON `value`, and let its run go on.

    Raises NotFound, NotAllowed, InvalidAnswer, and NotPossible when somebody was quicker (it says who and
    when), when the time is over, or when the run no longer asks.
    """
    actor = actors.user(by.get_username())
    with own_transaction(), acting_as(actor):
        step = _locked(step_id)
        run = step.run
        objection = questions.objection(step, by)
        if objection:
            raise NotAllowed(objection)
        _must_be_open(run, step)
        recorded = _checked(step, value)
        now = db_now()
        step.answer()
        step.result, step.due_at, step.finished_at = recorded, None, now
        step._change_reason = "answered"  # type: ignore[attr-defined]
        step.save()
        content = {"result": digest(recorded)}
        entry = Entry("question.answered", f"{plain_name(actor)} answered the question", content, step.id)
        wake(run, [entry], actor=actor, at=now)
    return step


def _locked(step_id: str) -> Step:
    """The question with its run, both locked, in the order run, step."""
    run_id = Step.objects.filter(pk=step_id, kind="question").values_list("run_id", flat=True).first()
    if run_id is None:
        raise NotFound(f"There is no question {step_id}; check the id, or look for it in the queue.")
    run = lock_run(run_id)
    step = Step.objects.select_for_update().get(pk=step_id)
    step.run = run
    return step


def _must_be_open(run: Run, step: Step) -> None:
    if step.state == StepState.SUCCEEDED:
        raise NotPossible(f"{who_answered(step)}; the first answer counts.")
    if run.ended or step.state != StepState.HELD or "~" in step.path:
        why = f"the run has ended ({run.state})" if run.ended else "the run no longer needs the answer"
        raise NotPossible(f"This is no longer asked: {_late(step) or why}.")
    if step.due_at is not None and step.due_at <= db_now():
        raise NotPossible(f"This is no longer asked: {_late(step)}.")


def _late(step: Step) -> str:
    if step.state == StepState.FAILED or (step.state == StepState.HELD and step.due_at is not None):
        at = step.due_at or step.finished_at
        return f"the time to answer ended at {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
    return ""


def who_answered(step: Step) -> str:
    """A sentence on who answered `step` and when, from the journal; empty when nobody has."""
    entries = JournalEntry.objects.filter(run_id=step.run_id, step_id=step.id, kind="question.answered")
    entry = entries.order_by("-seq").first()
    if entry is None:
        return ""
    return f"{plain_name(entry.actor)} answered this at {entry.at:%Y-%m-%d %H:%M:%S} UTC"


def _checked(step: Step, value: Any) -> Any:
    try:
        plain = normalise(value)
    except NotJson as error:
        raise InvalidAnswer([str(error)]) from None
    found = problems((step.arguments or {}).get("schema") or {}, plain)
    if found:
        raise InvalidAnswer(found)
    return plain
