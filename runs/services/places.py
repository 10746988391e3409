"""Letting runs start: not before their time, and no more at once than their workflow allows.

A run that must not start yet is a row with `placed` False, which no worker may claim. Places are given one at
a time, in order of priority and then age, under a lock for each workflow; what is taken is counted from the
rows each time, so that it cannot drift. A run keeps its place until it ends, also while it waits, is held or
is paused.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import partial

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet

from runs import messages, workflow
from runs.actors import acting_as, current
from runs.clock import db_now
from runs.journal import Entry
from runs.messages import HINT_LOST_AFTER
from runs.models import Run
from runs.services.record import append_entries, lock_run
from runs.states import RUN_ENDED, RunState
from runs.turns.checkpoint import own_transaction
from runs.workflow import UnknownWorkflow, Workflow

IN_LINE = (RunState.QUEUED, RunState.WAITING)
WAITS_FOR_A_PLACE = "a free place"
LONGEST_KEY = 200


def line_up(run: Run, now: datetime) -> None:
    """Let the run (queued, locked by the caller or not saved yet) go on as soon as it may; the caller saves.

    With its place, or where it needs none, a worker is told after commit. Otherwise it waits for its start,
    or is given a place after commit if one is free.
    """
    if run.placed is not False or run.state != RunState.QUEUED:
        run.wake_at = now + HINT_LOST_AFTER
        messages.tell(run)
        return
    run.hold_back()
    if run.start_at is not None and run.start_at > now:
        _wait_for_start(run, run.start_at)
        return
    run.wake_at, run.waiting_for = now + HINT_LOST_AFTER, WAITS_FOR_A_PLACE
    transaction.on_commit(partial(give_places, run.workflow, run.limit_key, run.id), robust=True)


def _wait_for_start(run: Run, start_at: datetime) -> None:
    run.wake_at = start_at
    run.waiting_for = f"its start at {start_at:%Y-%m-%d %H:%M:%S} UTC"


def is_limited(definition: Workflow) -> bool:
    """Whether runs of the workflow need a place."""
    return definition.at_most is not None or definition.at_most_per_key is not None


def limit_key_of(definition: Workflow, recorded: object) -> str:
    """What the run shares its places with; empty when its workflow limits no keys. A long one is kept as its
    digest.
    """
    if definition.limit_key is None:
        return ""
    key = str(definition.limit_key(definition.read_input(recorded)))
    return key if len(key) <= LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()


def give_places(name: str, key: str = "", asking: str = "") -> int:
    """Give the free places of the workflow `name` to the runs that stand first in line; how many got one.

    `key` is the limit key whose places may be free. If the run `asking` gets none, it is told what it waits
    for, and nobody looks at it again until a place is given back. Safe to call at any time, any number of
    times; no transaction may be open.
    """
    try:
        definition = workflow.get(name)
    except UnknownWorkflow:
        return 0  # a process that knows the workflow looks again
    given = 0
    while _give_one(definition, key, asking):
        given += 1
    return given


def _give_one(definition: Workflow, key: str, asking: str) -> bool:
    with own_transaction():
        _lock(definition.name)
        _take_back(definition.name)
        run = _first_in_line(definition, key)
        if run is not None:
            _let_in(definition, run)
        elif asking:
            _leave_in_line(definition, asking)
    return run is not None


def _lock(name: str) -> None:
    """One giver of places at a time for each workflow. With SQLite every transaction is alone."""
    if connection.vendor == "postgresql":
        number = int.from_bytes(hashlib.sha256(f"places of {name}".encode()).digest()[:8], "big", signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (number,))


def _take_back(name: str) -> None:
    Run.objects.filter(workflow=name, placed=True, state__in=RUN_ENDED).update(placed=False)


def _first_in_line(definition: Workflow, key: str) -> Run | None:
    """The run whose turn it is, locked; None when there is no place, or nobody who may take one."""
    if definition.at_most is not None and _under_way(definition.name) >= definition.at_most:
        return None
    full: set[str] = set()
    while True:
        found = _in_line(definition, key).exclude(limit_key__in=full).values_list("id", "limit_key").first()
        if found is None:
            return None
        run_id, its_key = found
        if _is_full(definition, its_key):
            full.add(its_key)
            continue
        # What somebody else changed meanwhile shows once the row is locked: then the next one is looked for.
        run = _in_line(definition, key).select_for_update().filter(pk=run_id).first()
        if run is not None:
            return run


def _in_line(definition: Workflow, key: str) -> QuerySet[Run]:
    rows = Run.objects.filter(workflow=definition.name, placed=False, state__in=IN_LINE)
    rows = rows.filter(Q(start_at=None) | Q(start_at__lte=db_now()))
    if definition.at_most is None and definition.at_most_per_key is not None:
        # Of many keys only this one can have become free.
        rows = rows.filter(limit_key=key)
    return rows.order_by("-priority", "created_at", "id")


def _is_full(definition: Workflow, key: str) -> bool:
    limit = definition.at_most_per_key
    return limit is not None and key != "" and _under_way(definition.name, key) >= limit


def _under_way(name: str, key: str | None = None) -> int:
    # One that has ended since the places were taken back counts: somebody may be trying it again.
    placed = Run.objects.filter(workflow=name, placed=True)
    return (placed if key is None else placed.filter(limit_key=key)).count()


def _let_in(definition: Workflow, run: Run) -> None:
    run.placed = True if is_limited(definition) else None
    if run.state == RunState.WAITING:
        run.wake()
    run.wake_at, run.waiting_for = db_now() + HINT_LOST_AFTER, ""
    append_entries(run, [_let_in_entry(definition, run)], actor=current())
    run.save()
    messages.tell(run)


def _let_in_entry(definition: Workflow, run: Run) -> Entry:
    if not run.placed:
        return Entry("run.let_in", "Its time has come")
    taken = _under_way(definition.name) + 1
    content = {"taken": taken, "at_most": definition.at_most, "at_most_per_key": definition.at_most_per_key}
    of = f" of {definition.at_most}" if definition.at_most else ""
    return Entry("run.let_in", f"Has its place: {taken}{of} under way", content | {"key": run.limit_key})


def _leave_in_line(definition: Workflow, run_id: str) -> None:
    run = lock_run(run_id)
    if run.placed is not False or run.state != RunState.WAITING:
        return
    if run.start_at is not None and run.start_at > db_now():
        _wait_for_start(run, run.start_at)
        run.save()
        return
    run.wake_at, run.waiting_for = None, _why_not(definition, run.limit_key)
    append_entries(run, [Entry("run.waiting", f"Waits for {run.waiting_for}")], actor=current())
    run.save()


def _why_not(definition: Workflow, key: str) -> str:
    if _is_full(definition, key):
        return _taken(_under_way(definition.name, key), definition.at_most_per_key, f" for {key}")
    return _taken(_under_way(definition.name), definition.at_most)


def _taken(taken: int, limit: int | None, of_whom: str = "") -> str:
    runs, are = ("run", "is") if limit == 1 else ("runs", "are")
    return f"{WAITS_FOR_A_PLACE}: {taken} of {limit} {runs}{of_whom} {are} under way"


# For caretakers


def hand_on(run: Run) -> None:
    """`run` has ended: its place goes to the next in line."""
    if run.placed:
        with acting_as("system"):
            give_places(run.workflow, run.limit_key)


def places_to_hand_on(limit: int) -> list[tuple[str, str]]:
    """Workflow and key of runs that have ended and still have their places: whoever ended them died then."""
    freed = Run.objects.filter(placed=True, state__in=RUN_ENDED).values_list("workflow", "limit_key")
    return list(freed.distinct()[:limit])


def places_to_fill() -> list[tuple[str, str]]:
    """Workflow and key of runs in line that have free places and were not told: a deploy brought more."""
    names = Run.objects.filter(placed=False, state__in=IN_LINE, wake_at=None).values_list(
        "workflow", flat=True
    )
    found: list[tuple[str, str]] = []
    for name in names.order_by("workflow").distinct():
        try:
            found += [(name, key) for key in _keys_to_fill(workflow.get(name))]
        except UnknownWorkflow:
            continue
    return found


def _keys_to_fill(definition: Workflow) -> list[str]:
    if definition.at_most is not None or definition.at_most_per_key is None:
        return [""]  # asking for any key asks for all
    placed = Run.objects.filter(workflow=definition.name, placed=True).exclude(state__in=RUN_ENDED)
    taken = placed.order_by().values("limit_key").annotate(taken=Count("pk"))
    full = taken.filter(taken__gte=definition.at_most_per_key).exclude(limit_key="").values("limit_key")
    waiting = Run.objects.filter(workflow=definition.name, placed=False, state__in=IN_LINE, wake_at=None)
    return list(waiting.exclude(limit_key__in=full).order_by().values_list("limit_key", flat=True).distinct())
