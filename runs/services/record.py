"""What every verb does: lock the run, and put what happened into its journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from runs import journal
from runs.clock import db_now
from runs.journal import Entry, Head
from runs.models import JournalEntry, Run


class NotPossible(Exception):  # noqa: N818 - read as a sentence where it is caught
    """The run is not in a state in which this can be done; the message says which, and what can be."""


def lock_run(run_id: str) -> Run:
    """The run, locked until the end of the caller's transaction. Raises Run.DoesNotExist."""
    return Run.objects.select_for_update().get(pk=run_id)


def append_entries(run: Run, entries: Iterable[Entry], *, actor: str) -> None:
    """Put `entries` into the journal of `run`, which the caller has locked; moves the head in row and
    object.
    """
    chain(run, entries, actor, db_now())
    Run.objects.filter(pk=run.pk).update(head_seq=run.head_seq, head_hash=run.head_hash)


def chain(run: Run, entries: Iterable[Entry], actor: str, at: datetime) -> None:
    """Write `entries` and move the head of `run`, in the object alone: the caller saves it."""
    head = Head(run.head_seq, bytes(run.head_hash))
    rows, head = journal.seal(run.id, head, entries, actor=actor, at=at)
    JournalEntry.objects.bulk_create(rows)
    run.head_seq, run.head_hash = head.seq, head.hash
