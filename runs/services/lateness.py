"""Pointing out, once, that a run takes longer than usual or has passed its deadline; nothing ends by it."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import QuerySet

from runs.actors import current
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Run
from runs.services.record import append_entries, lock_run
from runs.turns.checkpoint import own_transaction

logger = logging.getLogger(__name__)


def overdue(now: datetime) -> dict[str, QuerySet[Run]]:
    """Runs that take longer than usual, and runs whose deadline has passed, that nobody pointed out yet: by
    the column that says since when.
    """
    going_on = Run.objects.filter(finished_at=None)
    return {
        "expected_until": going_on.filter(overrun=False, expected_until__lte=now),
        "deadline": going_on.filter(late=False, deadline__lte=now),
    }


def point_out(run_id: str) -> bool:
    """Say in the journal, in the log and by a mark on the run what has passed; False when all is said."""
    with own_transaction():
        run, now = lock_run(run_id), db_now()
        entries = [] if run.ended else _mark(run, now)
        if entries:
            append_entries(run, entries, actor=current())
            Run.objects.filter(pk=run.pk).update(overrun=run.overrun, late=run.late)
    for entry in entries:
        logger.warning("%s: %s", run.workflow, entry.sentence, extra={"run": run.id, "kind": entry.kind})
    return bool(entries)


def _mark(run: Run, now: datetime) -> list[Entry]:
    entries = []
    if not run.overrun and run.expected_until is not None and run.expected_until <= now:
        run.overrun = True
        entries.append(_entry("run.overrun", "Takes longer than usual: expected by", run.expected_until))
    if not run.late and run.deadline is not None and run.deadline <= now:
        run.late = True
        entries.append(_entry("run.late", "Is not done in time: wanted by", run.deadline))
    return entries


def _entry(kind: str, said: str, moment: datetime) -> Entry:
    return Entry(kind, f"{said} {moment:%Y-%m-%d %H:%M:%S} UTC", {"by": moment.isoformat()})
