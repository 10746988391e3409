"""What the next commit of a turn writes, as rows by table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from django.db import models

from runs.journal import Entry, Sealed
from runs.models import Errand, JournalEntry, Step
from runs.turns.checkpoint import Write
from runs.turns.columns import (
    CALL_CHANGES,
    CALL_COLUMNS,
    ENTRY_COLUMNS,
    ERRAND_CHANGES,
    ERRAND_COLUMNS,
    HISTORY_STAMP,
    RUN_HISTORY,
    RUN_HISTORY_TABLE,
    STEP_CHANGES,
    STEP_COLUMNS,
    STEP_HISTORY,
    STEP_HISTORY_TABLE,
    values_of,
)
from tools.models import ToolCall
from tools.orders import Subject
from tools.switch import Waiting

WAITING_COLUMNS = ("id", "run_id", "path", "tool", "effect", "order", "since")


@dataclass(frozen=True)
class Allowed:
    """Something that no order stopped, by the `count` of orders at which that was asked."""

    subject: Subject
    count: int


@dataclass
class Pending:
    """What the next commit writes."""

    steps: dict[str, Step] = field(default_factory=dict)
    new_steps: set[str] = field(default_factory=set)
    step_history: list[tuple[Any, ...]] = field(default_factory=list)
    run_history: list[tuple[Any, ...]] = field(default_factory=list)
    calls: dict[str, ToolCall] = field(default_factory=dict)
    new_calls: set[str] = field(default_factory=set)
    errands: dict[str, Errand] = field(default_factory=dict)
    new_errands: set[str] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    others: list[Write] = field(default_factory=list)
    uses: dict[str, Sequence[Write]] = field(default_factory=dict)  # of decisions, by the step that uses one
    alongside: list[Callable[[], list[Entry]]] = field(default_factory=list)
    begins: dict[str, Allowed] = field(default_factory=dict)  # what changes the world, by step
    waiting: dict[str, Waiting] = field(default_factory=dict)  # for an order to end
    progress: bool = False
    columns: dict[str, Any] = field(default_factory=dict)  # of the run row

    def writes(self, sealed: list[Sealed]) -> list[Write]:
        """The rows to write, with the `sealed` entries of the journal."""
        sealed_rows = [values_of(entry, ENTRY_COLUMNS) for entry in sealed]
        return [
            *_rows(Step, STEP_COLUMNS, STEP_CHANGES, self.steps, self.new_steps),
            Write(STEP_HISTORY_TABLE, (*STEP_HISTORY, *HISTORY_STAMP), inserts=self.step_history),
            Write(RUN_HISTORY_TABLE, (*RUN_HISTORY, *HISTORY_STAMP), inserts=self.run_history),
            *_rows(ToolCall, CALL_COLUMNS, CALL_CHANGES, self.calls, self.new_calls),
            *_rows(Errand, ERRAND_COLUMNS, ERRAND_CHANGES, self.errands, self.new_errands),
            Write(JournalEntry, ENTRY_COLUMNS, inserts=sealed_rows),
            Write(Waiting, WAITING_COLUMNS, inserts=self._waiting_rows(), once=True),
            *self.others,
            *chain.from_iterable(self.uses.values()),
        ]

    def _waiting_rows(self) -> list[tuple[Any, ...]]:
        return [values_of(row, WAITING_COLUMNS) for row in self.waiting.values()]

    @property
    def orders(self) -> int | None:
        """The count of orders by which all that begins here was allowed; None when none could stop it."""
        return min((allowed.count for allowed in self.begins.values()), default=None)

    def forget(self, step: Step) -> None:
        """Write nothing of `step`: it was never begun."""
        self.steps.pop(step.id, None)
        self.new_steps.discard(step.id)
        self.uses.pop(step.id, None)
        self.begins.pop(step.id, None)
        self.step_history = [row for row in self.step_history if row[0] != step.id]
        self.entries = [entry for entry in self.entries if entry.step_id != step.id]
        for call in [call for call in self.calls.values() if call.step_id == step.id]:
            del self.calls[call.id]
            self.new_calls.discard(call.id)
            self.errands.pop(call.id, None)
            self.new_errands.discard(call.id)


def _rows(
    table: type[models.Model],
    columns: tuple[str, ...],
    changes: tuple[str, ...],
    rows: Mapping[str, models.Model],
    new: set[str],
) -> Iterator[Write]:
    """Whole rows for what is `new`, what changes in the others."""
    if not rows:
        return
    inserts = [values_of(row, columns) for key, row in rows.items() if key in new]
    updates = [(key, *values_of(row, changes)) for key, row in rows.items() if key not in new]
    yield Write(table, columns, inserts=inserts)
    yield Write(table, changes, updates=updates)
