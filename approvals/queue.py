"""The queue as a page shows it: which decisions, narrowed how, and which of them is open beside the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.db.models import Q

from approvals import authority, queries
from approvals.models import Approval, ApprovalQuerySet
from tools.counting import Count, up_to
from tools.effects import Risk

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MINE, ALL = "mine", "all"
SHOWN = 200
HOUR, DAY = 3600, 86400


@dataclass(frozen=True)
class QueueFilter:
    """What the queue is narrowed to; empty means all. `view` is ``mine`` or ``all``."""

    view: str
    risk: str = ""
    workflow: str = ""
    text: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any], viewer: User) -> QueueFilter:
        """From a query string; what means nothing, or is not for `viewer`, is left out."""
        risk = str(given.get("risk", ""))
        return cls(
            view=ALL if given.get("view") == ALL or not viewer.has_perm(authority.DECIDE) else MINE,
            risk=risk if risk in set(Risk) else "",
            workflow=str(given.get("workflow", ""))[:100],
            text=str(given.get("text", "")).strip()[:200],
        )

    @property
    def active(self) -> dict[str, str]:
        """The filters that narrow something."""
        named = {"risk": self.risk, "workflow": self.workflow, "text": self.text}
        return {name: value for name, value in named.items() if value}

    @property
    def view_word(self) -> str:
        """The view as the query string has it; the first one needs no word."""
        return ALL if self.view == ALL else ""

    @property
    def query(self) -> str:
        """As a query string."""
        return urlencode({**({"view": ALL} if self.view_word else {}), **self.active})


@dataclass(frozen=True)
class Group:
    """Rows under one heading."""

    heading: str
    rows: list[Approval]


@dataclass(frozen=True)
class Queue:
    """One look at the queue. `total` counts all rows that fit, `mine` and `all` those of the two views."""

    rows: list[Approval]
    total: Count
    mine: Count
    all: Count
    workflows: list[str]

    @property
    def groups(self) -> list[Group]:
        """The rows by when they must be decided; within and between the groups the order stays."""
        found: list[Group] = []
        for row in self.rows:
            heading = _heading(row)
            if not found or found[-1].heading != heading:
                found.append(Group(heading, []))
            found[-1].rows.append(row)
        return found


def look(wanted: QueueFilter, viewer: User) -> Queue:
    """The decisions that fit, most urgent first."""
    mine, everything = queries.queue_for(viewer), queries.open_approvals()
    fitting = _narrowed(mine if wanted.view == MINE else everything, wanted)
    rows = list(fitting.prefetch_related("decisions")[: SHOWN + 1])
    return Queue(
        rows=rows[:SHOWN],
        total=Count(len(rows)) if len(rows) <= SHOWN else up_to(fitting),
        mine=up_to(mine),
        all=up_to(everything),
        workflows=queries.workflows_that_ask(),
    )


def next_for(viewer: User, wanted: QueueFilter) -> Approval | None:
    """What `viewer` should decide next under the same filters, or else under none."""
    mine = queries.queue_for(viewer)
    return _narrowed(mine, wanted).first() or mine.first()


def _narrowed(rows: ApprovalQuerySet, wanted: QueueFilter) -> ApprovalQuerySet:
    if wanted.risk:
        rows = rows.filter(risk=wanted.risk)
    if wanted.workflow:
        rows = rows.filter(workflow=wanted.workflow)
    if wanted.text:
        rows = rows.filter(
            Q(title__icontains=wanted.text) | Q(pk=wanted.text) | Q(run=wanted.text) | Q(tool=wanted.text)
        )
    return rows


def _heading(row: Any) -> str:
    if row.seconds_left < 0:
        return "Time is over"
    if row.seconds_left < HOUR:
        return "Due within an hour"
    return "Due within a day" if row.seconds_left < DAY else "Later"
