"""What is well and what is not: one finding a line, each with its cure. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Max, QuerySet

from ops import health
from runs import journal, workflow
from runs.clock import db_now
from runs.code import digest_of
from runs.crew import workers
from runs.models import Errand, ErrandState, Run, Worker
from runs.services.activation import versions_not_as_activated
from runs.states import RUN_ENDED, RunState

#: A row that is due for longer than this is one that the caretakers should have seen.
LATE = timedelta(seconds=30)


class Level(StrEnum):
    """How a finding is."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `what` was found, and how to cure it where that is needed."""

    subject: str
    level: Level
    what: str
    cure: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, one thing after the other; a look that fails is a finding as well."""
    for subject, look in _LOOKS.items():
        try:
            yield from look()
        except DatabaseError as error:
            cure = "See that DATABASE_URL is right and the database runs; then python3 manage.py migrate."
            yield Finding(subject, Level.BAD, f"the database does not answer: {str(error).strip()}", cure)


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in pending[:5])
        what = f"{len(pending)} migrations are pending: {names}"
        yield Finding("migrations", Level.BAD, what, "Type python3 manage.py migrate.")
    else:
        yield Finding("migrations", Level.OK, "all are applied")


# What a setting must not be, and why.

_SQLITE = {
    "journal_mode": (
        lambda value: value == "wal",
        "PRAGMA journal_mode = WAL: readers and writers wait for each other",
    ),
    "synchronous": (
        lambda value: int(value) >= 2,
        "PRAGMA synchronous = FULL: a power cut can lose what was committed",
    ),
}
_POSTGRESQL = {
    "synchronous_commit": (
        lambda value: value != "off",
        "on: a crash of the server can lose what was committed",
    ),
    "fsync": (lambda value: value == "on", "on: a power cut can destroy the database"),
    "full_page_writes": (lambda value: value == "on", "on: a power cut can destroy pages"),
}


def _database() -> Iterator[Finding]:
    sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        for name, (is_right, why) in (_SQLITE if sqlite else _POSTGRESQL).items():
            cursor.execute(f"PRAGMA {name}" if sqlite else f"SHOW {name}")
            value = str(cursor.fetchone()[0])
            if is_right(value):
                yield Finding("database", Level.OK, f"{name} is {value}")
            else:
                must, _, risk = why.partition(": ")
                yield Finding("database", Level.BAD, f"{name} is {value}: {risk}", f"Set it to {must}.")


def _broker() -> Iterator[Finding]:
    if health.broker_answers():
        yield Finding("broker", Level.OK, "it takes messages")
    else:
        what = "it does not answer; caretakers find the work without it, some seconds later"
        yield Finding("broker", Level.BAD, what, "See that REDIS_URL is right and the broker runs.")


def _workers() -> Iterator[Finding]:
    runs = _by_queue(Run.objects.filter(state=RunState.QUEUED))
    calls = _by_queue(Errand.objects.filter(state=ErrandState.WAITING))
    for queue in sorted(health.queues() | runs.keys() | calls.keys()):
        yield _listening(queue, runs.get(queue, 0), calls.get(queue, 0))


def _by_queue(rows: QuerySet[Any]) -> dict[str, int]:
    return dict(rows.order_by().values_list("queue").annotate(Count("pk")))


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listening(queue: str, runs: int, calls: int) -> Finding:
    waiting = [_some(count, noun) for count, noun in ((runs, "run"), (calls, "tool call")) if count]
    wait = "waits" if runs + calls <= 1 else "wait"
    if workers.anyone_listens_to(queue):
        return Finding("workers", Level.OK, f"queue {queue} has a worker; {runs + calls} {wait} in it")
    last = workers.last_listened(queue)
    since = f"since {last:%Y-%m-%d %H:%M:%S} UTC" if last else "and none ever did"
    level = Level.BAD if runs or calls else Level.WARNING
    what = f"no worker listens on queue {queue} {since}; {' and '.join(waiting) or 'nothing'} {wait} for one"
    return Finding("workers", level, what, f"Start one: {workers.how_to_start(queue)}")


def _caretakers() -> Iterator[Finding]:
    now = db_now()
    # A worker beats right before each round, in one thread: its heartbeat tells of the round before as well.
    last = Worker.objects.aggregate(last=Max("beat_at"))["last"]
    seen = "no round was ever begun"
    if last is not None:
        ago = f"{(now - last).total_seconds():.0f} s ago"
        seen = f"their last round began at {last:%Y-%m-%d %H:%M:%S} UTC, {ago}"
    cure = f"Start a worker: {workers.how_to_start('runs')}; each makes rounds beside its work."
    due = Run.objects.filter(
        state__in=[RunState.QUEUED, RunState.WAITING, RunState.CANCELLING], wake_at__lt=now - LATE
    )
    if last is None or now - last > LATE:
        yield Finding("caretakers", Level.BAD if due.exists() else Level.WARNING, seen, cure)
    elif late := due.count():
        yield Finding(
            "caretakers", Level.BAD, f"{seen}, and yet {late} runs are overdue", "Read the workers' logs."
        )
    else:
        yield Finding("caretakers", Level.OK, f"{seen}; nothing is overdue")


def _journal() -> Iterator[Finding]:
    try:
        key_id, _ = journal.signing_key()
    except ImproperlyConfigured as error:
        yield Finding("journal", Level.BAD, str(error), "Set HOLDPOINT_JOURNAL_KEYS to id:secret.")
    else:
        yield Finding("journal", Level.OK, f"new entries are sealed with key {key_id}")


def _code() -> Iterator[Finding]:
    rows = Run.objects.exclude(state__in=RUN_ENDED).order_by("workflow", "version", "code")
    wrong = 0
    for name, version, code, count in rows.values_list("workflow", "version", "code").annotate(Count("pk")):
        finding = _fits(name, version, code, count)
        if finding is not None:
            wrong += 1
            yield finding
    if not wrong:
        yield Finding("code", Level.OK, f"{rows.count()} runs are under way, all with the code they know")
    for row in versions_not_as_activated():
        what = f"{row.name} version {row.version} is not the code that {row.activated_by} activated"
        cure = f"Look at the change, then python3 manage.py runs activate {row.name} {row.version} …"
        yield Finding("code", Level.WARNING, what, cure)


def _fits(name: str, version: int, code: str, count: int) -> Finding | None:
    runs = f"{_some(count, 'run')} of {name} version {version}"
    try:
        here = digest_of(workflow.get(name, version))
    except workflow.UnknownWorkflow:
        cure = "Deploy that version again, beside the newer one, until its runs have ended."
        return Finding("code", Level.BAD, f"{runs}: there is no code of that version", cure)
    if code and here and code != here:
        what = f"{runs}: the code has changed since"
        return Finding(
            "code", Level.WARNING, what, "python3 manage.py runs check tells whether it still fits."
        )
    return None


_LOOKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "migrations": _migrations,
    "database": _database,
    "broker": _broker,
    "workers": _workers,
    "caretakers": _caretakers,
    "journal": _journal,
    "code": _code,
}
