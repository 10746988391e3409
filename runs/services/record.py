"""What every verb does: lock the run, and put what happened into its journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from runs import journal
from runs.clock import db_now
from runs.journal import Entry, Head
from runs.models import JournalEntry, Run
from runs.turns.checkpoint import Write, put
from runs.turns.columns import ENTRY_COLUMNS, values_of
from runs.turns.lookup import Lookup
from tools.canonical import normalise

MAX_REASON = 4000
HEAD = ("head_seq", "head_hash")  # the columns of a run that say where its journal ends


class NotPossible(Exception):  # noqa: N818 - read as a sentence where it is caught
    """It cannot be done with this run: the message says how the run stands, who brought it there and when,
    and what can be done instead. `code` is the kind of obstacle, for counting: ``state``, ``effect``, ….
    """

    def __init__(self, message: str, *, code: str = "state") -> None:
        super().__init__(message)
        self.code = code


class NotFound(LookupError):
    """There is no such run."""


def found_run(run_id: str) -> Run:
    """The run, as it stands. Raises NotFound."""
    return _found(Run.objects.filter(pk=run_id).first(), run_id)


def lock_run(run_id: str) -> Run:
    """The run, locked until the end of the caller's transaction. Raises NotFound."""
    return _found(_LOCKED.first(run_id), run_id)


_LOCKED = Lookup(lambda run_id: Run.objects.select_for_update().filter(pk=run_id).order_by())


def lock_run_unless_taken(run_id: str) -> Run | None:
    """The run, locked as by ``lock_run``; None when somebody else has it locked just now."""
    return Run.objects.select_for_update(skip_locked=True).filter(pk=run_id).first()


def _found(run: Run | None, run_id: str) -> Run:
    if run is None:
        raise NotFound(f"There is no run {run_id}; check the id, or look for it in the list of runs.")
    return run


def said_why(reason: str) -> str:
    """The reason as it is kept. Raises NotPossible when it says nothing, or too much."""
    text = reason.strip()
    if not text:
        raise NotPossible("Say why: the reason is kept with the run.", code="reason")
    if len(text) > MAX_REASON:
        raise NotPossible(
            f"The reason has {len(text)} characters; shorten it to {MAX_REASON}.", code="reason"
        )
    return str(normalise(text))


def append_entries(run: Run, entries: Iterable[Entry], *, actor: str) -> None:
    """Put `entries` into the journal of `run`, which the caller has locked; moves the head in row and
    object.
    """
    writes = journal_writes(run, entries, actor, db_now())
    put([*writes, Write(Run, HEAD, updates=[(run.pk, *values_of(run, HEAD))])])


def chain(run: Run, entries: Iterable[Entry], actor: str, at: datetime) -> None:
    """Write `entries` and move the head of `run`, in the object alone: the caller saves it."""
    put(journal_writes(run, entries, actor, at))


def journal_writes(run: Run, entries: Iterable[Entry], actor: str, at: datetime) -> list[Write]:
    """The rows of `entries`, to be written; moves the head of `run` in the object, for the caller to save."""
    head = Head(run.head_seq, bytes(run.head_hash))
    rows, head = journal.seal(run.id, head, entries, actor=actor, at=at)
    run.head_seq, run.head_hash = head.seq, head.hash
    return [Write(JournalEntry, ENTRY_COLUMNS, inserts=[values_of(row, ENTRY_COLUMNS) for row in rows])]
