"""Open questions of runs: who is asked, who may answer, and what pages say about them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet
from django.urls import reverse

from runs.actors import username_of
from runs.models import Step
from runs.states import RUN_ENDED
from runs.waits import Wait

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

ANSWER = "runs.answer_question"


def whom(to: str) -> str:
    """Who is asked, in words: `to` is ``user:`` and a username, the name of a group, or empty."""
    if not to:
        return "anyone who may answer"
    return username_of(to) or f"the group {to}"


def whom_of(step: Step) -> str:
    """Who is asked by a question on record."""
    return whom((step.arguments or {}).get("to") or "")


def objection(step: Step, person: User | AnonymousUser) -> str:
    """Why `person` may not answer, with the cure; empty when they may."""
    if not person.is_active or not person.has_perm(ANSWER):
        return "You may not answer questions of runs; an administrator can give you the permission."
    to = (step.arguments or {}).get("to") or ""
    if not to or to in _names(person):
        return ""
    if username_of(to):
        return f"Only {whom(to)} is asked this."
    return f"Only members of {whom(to)} are asked this; ask one of them, or be added to that group."


def _names(person: User | AnonymousUser) -> list[str]:
    """What a question may be addressed to so that it reaches `person`."""
    groups = [name for name in person.groups.values_list("name", flat=True) if not name.startswith("user:")]
    return ["", f"user:{person.get_username()}", *groups]


def open_questions() -> QuerySet[Step]:
    """All that nobody has answered yet, the oldest first."""
    held = Step.objects.filter(asks=True).exclude(path__contains="~")
    return held.exclude(run__state__in=RUN_ENDED).order_by("started_at", "id")


def questions_for(person: User | AnonymousUser) -> QuerySet[Step]:
    """The open questions that `person` may answer, the oldest first, each with its run."""
    if not person.is_active or not person.has_perm(ANSWER):
        return Step.objects.none()
    return open_questions().filter(arguments__to__in=_names(person)).select_related("run")


def waits_of(run_ids: Collection[str], viewer: User) -> list[Wait]:
    """The open questions of these runs, as `viewer` sees them."""
    asked = list(open_questions().filter(run__in=run_ids))
    names = _names(viewer) if asked and viewer.is_active and viewer.has_perm(ANSWER) else []
    return [_wait(step, may_act=(step.arguments or {}).get("to", "") in names) for step in asked]


def _wait(step: Step, *, may_act: bool) -> Wait:
    asked: dict[str, Any] = step.arguments or {}
    return Wait(
        run_id=step.run_id,
        step_id=step.id,
        what=str(asked.get("question", "")),
        who=whom(asked.get("to", "")),
        since=step.started_at,
        until=step.due_at,
        then="the workflow is told that nobody answered" if step.due_at else "",
        url=reverse("runs:question", args=[step.run_id, step.id]),
        may_act=may_act,
        kind="answer",
    )
