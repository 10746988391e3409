"""What pages ask about runs. Reads only; the number of queries never depends on the number of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import Count as CountOf
from django.db.models import Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce

from runs import actors, messages, workflow
from runs.crew import workers
from runs.models import Errand, ErrandState, JournalEntry, Run, Step
from runs.pages import counts
from runs.pages.acts import as_tree
from runs.pages.family import Family, family_of, waits_in_family
from runs.pages.status import Status, status_of
from runs.services.record import found_run
from runs.states import RunState
from runs.waits import Wait
from tools.counting import Count
from tools.effects import Effect
from tools.models import CallState, ToolCall

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGE = 50
STEPS_SHOWN = 200
ENTRIES_SHOWN = 200
CALLS_SHOWN = 500
CHANGES_SHOWN = 200
#: States to which a person brings a run.
STOPPING = (RunState.PAUSING, RunState.PAUSED, RunState.CANCELLING)
#: Shown in the strip even when there are none; the others appear once they exist.
ALWAYS_COUNTED = (
    RunState.NEEDS_ATTENTION,
    RunState.WAITING,
    RunState.RUNNING,
    RunState.QUEUED,
    RunState.FAILED,
    RunState.SUCCEEDED,
    RunState.CANCELLED,
)


# The list


@dataclass(frozen=True)
class RunFilter:
    """What the list is narrowed to; empty means all. `before` is the last run of the page before."""

    state: str = ""
    workflow: str = ""
    requester: str = ""
    text: str = ""
    before: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> RunFilter:
        """From the query string; words that mean nothing are left out."""
        state = str(given.get("state", ""))
        return cls(
            state=state if state in set(RunState) else "",
            workflow=str(given.get("workflow", ""))[:100],
            requester=str(given.get("requester", "")).strip()[:160],
            text=str(given.get("text", "")).strip()[:200],
            before=str(given.get("before", ""))[:32],
        )

    @property
    def active(self) -> dict[str, str]:
        """The filters that narrow something, as the query string has them."""
        named = {"state": self.state, "workflow": self.workflow, "requester": self.requester}
        return {name: value for name, value in {**named, "text": self.text}.items() if value}


@dataclass(frozen=True)
class RunList:
    """One page of runs, newest first, and the counts of all states under the same filters."""

    runs: list[Run]
    counts: list[tuple[RunState, Count]]
    total: Count
    waits: dict[str, list[Wait]]
    next_before: str
    workflows: list[str]

    @property
    def all_states(self) -> Count:
        """How many runs there are with any state."""
        return sum((count for _, count in self.counts), Count())


def run_list(wanted: RunFilter, viewer: User) -> RunList:
    """The runs that fit, a page of them; each with `steps_done`, `spent` and `problem`."""
    # What was put away is found by its id alone.
    by_id = wanted.text.startswith("run_")
    fits = _fits(wanted)
    found = counts.by_state(fits, Run.objects.filter(fits) if by_id else None)
    shown_states = [s for s in RunState if s not in ALWAYS_COUNTED and found[s]]
    rows = Run.objects.order_by("-created_at", "-id").filter(fits)
    rows = rows if by_id else rows.filter(archived_at=None)
    rows = rows.filter(state=wanted.state) if wanted.state else rows
    if wanted.before:
        rows = _older_than(rows, wanted.before)
    shown = list(_with_sums(rows)[: PAGE + 1])
    page, more = shown[:PAGE], len(shown) > PAGE
    return RunList(
        runs=page,
        counts=[(state, found[state]) for state in (*ALWAYS_COUNTED, *shown_states)],
        total=found[RunState(wanted.state)] if wanted.state else sum(found.values(), Count()),
        waits=waits_in_family([run.id for run in page if run.state == RunState.WAITING], viewer),
        next_before=page[-1].id if more else "",
        workflows=sorted({known.name for known in workflow.all_workflows()}),
    )


def _fits(wanted: RunFilter) -> Q:
    fits = Q()
    if wanted.workflow:
        fits &= Q(workflow=wanted.workflow)
    if wanted.requester:
        fits &= Q(requester__in=[wanted.requester, actors.user(wanted.requester)])
    if wanted.text.startswith("run_"):
        fits &= Q(id=wanted.text)
    elif wanted.text:
        fits &= Q(intent__icontains=wanted.text)
    return fits


def _older_than(rows: QuerySet[Run], run_id: str) -> QuerySet[Run]:
    at = Subquery(Run.objects.filter(pk=run_id).values("created_at"))
    # The first half says where an index begins; the second what of that moment is left.
    return rows.filter(created_at__lte=at).exclude(created_at=at, id__gte=run_id)


def _with_sums(rows: QuerySet[Run]) -> QuerySet[Run]:
    steps = Step.objects.filter(run=OuterRef("pk")).order_by().values("run")
    done = steps.filter(finished_at__isnull=False).annotate(n=CountOf("pk")).values("n")
    spent = steps.annotate(sum=Sum("cost")).values("sum")
    return rows.defer("input", "output").annotate(
        steps_done=Coalesce(Subquery(done), 0), spent=Subquery(spent), problem=KT("output__error__message")
    )


# One run


@dataclass(frozen=True)
class Totals:
    """What a run has used up and done so far."""

    cost: Decimal | None
    input_tokens: int
    output_tokens: int
    calls: int
    retries: int
    effects: int  # writes and irreversible calls that are known to have happened


@dataclass(frozen=True)
class RunDetail:
    """Everything above the tabs of a run's page."""

    run: Run
    status: Status
    waits: list[Wait]
    steps: list[Step]
    aside: list[Step]
    step_count: int
    calls: list[ToolCall]
    unknown: list[ToolCall]
    history: list[Any]
    totals: Totals
    scripted: bool
    family: Family


def run_detail(run_id: str, viewer: User) -> RunDetail:
    """One run with its last steps and their attempts, and its states, newest first. Raises NotFound."""
    run = found_run(run_id)
    found = list(run.steps.order_by("-position", "-started_at")[: STEPS_SHOWN + 1])[::-1]
    steps = [step for step in found if "~" not in step.path]
    all_calls = ToolCall.objects.filter(run_id=run.id).order_by("started_at", "attempt")
    history = list(run.history.order_by("-history_date", "-history_id")[:CHANGES_SHOWN])
    waits = waits_in_family([run.id], viewer).get(run.id, []) if run.state == RunState.WAITING else []
    listens = run.state != RunState.QUEUED or workers.anyone_listens_to(messages.queue_of(run))
    unknown = list(all_calls.filter(state=CallState.UNKNOWN))
    status = status_of(
        run,
        steps,
        waits,
        since=_since(run, history),
        worker_listens=listens,
        by=_who_asked(history),
        unserved=_unserved(run),
        unknown=len(unknown),
    )
    return RunDetail(
        run=run,
        status=status,
        waits=waits,
        steps=as_tree(steps[-STEPS_SHOWN:]),
        aside=[step for step in found if "~" in step.path],
        step_count=run.steps.count() if len(found) > STEPS_SHOWN else len(steps),
        calls=list(all_calls.reverse()[:CALLS_SHOWN])[::-1],
        unknown=unknown,
        history=history,
        totals=_totals(run, all_calls),
        scripted=any(step.model.startswith("scripted") for step in steps),
        family=family_of(run),
    )


def _unserved(run: Run) -> tuple[str, datetime] | None:
    """A queue on which the run waits for a worker and nobody listens, and since when."""
    if run.state != RunState.WAITING:
        return None
    waiting = Errand.objects.filter(run_id=run.id, state=ErrandState.WAITING)
    asked = waiting.values_list("queue").annotate(first=Min("created_at")).order_by("queue")
    for queue, first in asked:
        if not workers.anyone_listens_to(queue):
            return queue, workers.last_listened(queue) or first
    return None


def _since(run: Run, history: list[Any]) -> datetime | None:
    """When the run came into the state it is in."""
    since: datetime | None = None
    for row in history:
        if row.state != run.state:
            break
        since = row.history_date
    return since


def _who_asked(history: list[Any]) -> str:
    """The person who last asked for the pause or the end that the run is on its way to, or has come to."""
    for row in history:
        if row.state not in STOPPING:
            break
        if actors.username_of(row.actor) is not None:
            return str(row.actor)
    return ""


def _totals(run: Run, calls: QuerySet[ToolCall]) -> Totals:
    spent = run.steps.aggregate(
        cost=Sum("cost"), input_tokens=Sum("input_tokens"), output_tokens=Sum("output_tokens")
    )
    happened = Q(state=CallState.SUCCEEDED, effect__in=[Effect.WRITE, Effect.IRREVERSIBLE])
    made = calls.order_by().aggregate(
        calls=CountOf("pk"),
        retries=CountOf("pk", filter=Q(attempt__gt=1)),
        effects=CountOf("pk", filter=happened),
    )
    return Totals(
        cost=spent["cost"],
        input_tokens=spent["input_tokens"] or 0,
        output_tokens=spent["output_tokens"] or 0,
        calls=made["calls"],
        retries=made["retries"],
        effects=made["effects"],
    )


@dataclass(frozen=True)
class JournalPage:
    """Entries in their order; `earlier` and `later` are the numbers to go on from, 0 for nothing."""

    entries: list[JournalEntry]
    earlier: int
    later: int
    kinds: list[str] = field(default_factory=list)


def journal_page(run: Run, before: int = 0) -> JournalPage:
    """The last entries of the journal, or those before entry number `before`."""
    rows = run.journal.order_by("-seq")
    if before > 0:
        rows = rows.filter(seq__lt=before)
    newest_first = list(rows[: ENTRIES_SHOWN + 1])
    entries = newest_first[:ENTRIES_SHOWN][::-1]
    earlier = entries[0].seq if len(newest_first) > ENTRIES_SHOWN else 0
    last = entries[-1].seq if entries else 0
    later = min(run.head_seq + 1, last + 1 + ENTRIES_SHOWN) if before > 0 and last < run.head_seq else 0
    return JournalPage(entries, earlier, later)


def permissions_of_calls(run: Run, calls: list[ToolCall]) -> dict[str, dict[str, str]]:
    """By step of these calls: the policy under which it was let through, and the approval that was used."""
    started = run.journal.filter(kind="call.started", step_id__in={call.step_id for call in calls})
    rows = started.order_by("seq").values_list("step_id", "content")
    found: dict[str, dict[str, str]] = {}
    for step_id, content in rows:
        if content and content.get("policy"):
            found[step_id] = {"policy": content["policy"], "approval": content.get("approval") or ""}
    return found
