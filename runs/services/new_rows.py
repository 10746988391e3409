"""The rows of new runs: row, history and the first journal entry of each, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from runs import journal
from runs.journal import Entry, Head
from runs.models import JournalEntry, Run
from runs.turns.checkpoint import Write, put
from runs.turns.columns import (
    ENTRY_COLUMNS,
    HISTORY_STAMP,
    RUN_HISTORY,
    RUN_HISTORY_TABLE,
    history_values,
    values_of,
)

RUN_COLUMNS = tuple(str(field.column) for field in Run._meta.concrete_fields)
AT_ONCE = 20  # runs of one statement: PostgreSQL takes 65,535 parameters, and plans one statement a number


def insert_runs(drafts: Sequence[tuple[Run, Entry]], *, actor: str, at: datetime) -> None:
    """Write these new runs, each with what its journal begins with, in the caller's transaction.

    Raises django.db.IntegrityError when one of them is there already.
    """
    for start in range(0, len(drafts), AT_ONCE):
        _insert(drafts[start : start + AT_ONCE], actor, at)


def _insert(drafts: Sequence[tuple[Run, Entry]], actor: str, at: datetime) -> None:
    rows: list[tuple[Any, ...]] = []
    kept: list[tuple[Any, ...]] = []
    entries: list[tuple[Any, ...]] = []
    for run, entry in drafts:
        sealed, head = journal.seal(run.id, Head(0, b""), [entry], actor=actor, at=at)
        run.head_seq, run.head_hash = head.seq, head.hash
        run._state.adding, run._state.db = False, "default"
        rows.append(values_of(run, RUN_COLUMNS))
        kept.append(history_values(run, RUN_HISTORY, kind="+", actor=actor, at=at, reason=None))
        entries += [values_of(row, ENTRY_COLUMNS) for row in sealed]
    put(
        [
            Write(Run, RUN_COLUMNS, inserts=rows),
            Write(RUN_HISTORY_TABLE, (*RUN_HISTORY, *HISTORY_STAMP), inserts=kept),
            Write(JournalEntry, ENTRY_COLUMNS, inserts=entries),
        ]
    )
