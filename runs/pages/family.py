"""What pages ask about a run's family: whose child it is, its own children, and the people they wait for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet

from runs.models import Run
from runs.states import RunState
from runs.waits import Wait, waits_of
from tools.preview import plain_text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHOWN = 50
DEEPEST = 5  # generations in which somebody is looked for
MOST = 500  # children whose waits are looked for


@dataclass(frozen=True)
class Family:
    """The runs that a run's page links to. `children` are the newest ones of `child_count`."""

    parent: Run | None = None
    before: Run | None = None
    after: Run | None = None
    forked_from: Run | None = None
    children: list[Run] = field(default_factory=list)
    child_count: int = 0


def family_of(run: Run) -> Family:
    """Who the run came from and what came of it, in three queries at most."""
    others = {run.parent_id, run.continued_from, run.continued_by, run.forked_from} - {""}
    known = Run.objects.defer("input", "output").in_bulk(others) if others else {}
    children = list(_children([run.id]).order_by("-created_at", "-id")[: SHOWN + 1])
    return Family(
        parent=known.get(run.parent_id),
        before=known.get(run.continued_from),
        after=known.get(run.continued_by),
        forked_from=known.get(run.forked_from),
        children=children[:SHOWN],
        child_count=_children([run.id]).count() if len(children) > SHOWN else len(children),
    )


def _children(run_ids: Collection[str]) -> QuerySet[Run]:
    # The second condition is that of the index.
    return Run.objects.filter(~Q(parent_id=""), parent_id__in=run_ids).defer("input", "output")


def waits_in_family(run_ids: Collection[str], viewer: User) -> dict[str, list[Wait]]:
    """As `runs.waits.waits_of`, with what the children of the runs wait for, and theirs: each says where."""
    shown_on = {run_id: {run_id} for run_id in run_ids}  # a run, and those on whose pages it shows
    below: dict[str, Run] = {}
    latest = dict(shown_on)
    for _ in range(DEEPEST):
        if not latest or len(below) >= MOST:
            break
        waiting = _children(latest).filter(state=RunState.WAITING).exclude(to_tell="")
        children = list(waiting.order_by("id")[:MOST])
        latest = {child.id: latest[child.parent_id] for child in children}
        for child in children:
            shown_on[child.id] = shown_on.get(child.id, set()) | latest[child.id]
            below[child.id] = child
    found: dict[str, list[Wait]] = {}
    for run_id, waits in waits_of(list(shown_on), viewer).items():
        for page in shown_on[run_id]:
            child_there = below[run_id] if page != run_id else None
            found.setdefault(page, []).extend(_seen_from(wait, child_there) for wait in waits)
    return found


def _seen_from(wait: Wait, child: Run | None) -> Wait:
    if child is None:
        return wait
    name = plain_text(child.intent, 80) or child.workflow
    return replace(wait, what=f"{wait.what} (for its child run: {name})")
