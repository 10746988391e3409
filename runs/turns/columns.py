"""What the rows of a turn look like: the columns it writes, table by table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any

from django.db import models

from runs.models import Run, Step

STEP_COLUMNS = (
    "id",
    "run_id",
    "path",
    "position",
    "kind",
    "name",
    "state",
    "fingerprint",
    "arguments",
    "result",
    "blob",
    "error",
    "attempt",
    "epoch",
    "effect",
    "key",
    "model",
    "input_tokens",
    "output_tokens",
    "cost",
    "due_at",
    "not_before",
    "started_at",
    "finished_at",
)
STEP_CHANGES = (
    "state",
    "result",
    "blob",
    "error",
    "attempt",
    "epoch",
    "input_tokens",
    "output_tokens",
    "cost",
    "due_at",
    "not_before",
    "started_at",
    "finished_at",
)
STEP_HISTORY = tuple(
    c for c in STEP_COLUMNS if c not in ("arguments", "result", "blob", "error", "fingerprint")
)
RUN_HISTORY = (
    "id",
    "workflow",
    "version",
    "state",
    "intent",
    "requester",
    "source",
    "queue",
    "priority",
    "deadline",
    "waiting_for",
    "attention",
    "stop_reason",
    "granted",
    "crashes",
    "alone",
    "generation",
    "created_at",
    "started_at",
    "finished_at",
)
CALL_COLUMNS = (
    "id",
    "step_id",
    "run_id",
    "tool",
    "version",
    "effect",
    "attempt",
    "key",
    "arguments_digest",
    "state",
    "not_before",
    "result_digest",
    "failure_class",
    "error",
    "started_at",
    "finished_at",
)
CALL_CHANGES = ("state", "not_before", "result_digest", "failure_class", "error", "finished_at")
ERRAND_COLUMNS = (
    "id",
    "run_id",
    "step_id",
    "queue",
    "timeout",
    "contract",
    "state",
    "lease_owner",
    "wake_at",
    "created_at",
)
ERRAND_CHANGES = ("state", "outcome")
STEP_HISTORY_TABLE: type[models.Model] = Step.history.model
RUN_HISTORY_TABLE: type[models.Model] = Run.history.model
HISTORY_STAMP = ("history_date", "history_type", "history_change_reason", "actor")
ENTRY_COLUMNS = (
    "run_id",
    "seq",
    "at",
    "actor",
    "kind",
    "sentence",
    "step_id",
    "content",
    "digest",
    "previous",
    "key_id",
    "mac",
)


def kept_columns(model: type[models.Model]) -> tuple[str, ...]:
    """What the history of `model` keeps of a row, in the order of its table."""
    stamps = {"history_id", "history_user_id", *HISTORY_STAMP}
    table = model.history.model  # type: ignore[attr-defined]
    return tuple(str(f.column) for f in table._meta.concrete_fields if f.column not in stamps)


@cache
def _reader(columns: Sequence[str]) -> Callable[[object], tuple[Any, ...]]:
    if len(columns) == 1:
        return lambda row: (getattr(row, columns[0]),)
    return attrgetter(*columns)


def values_of(row: object, columns: tuple[str, ...]) -> tuple[Any, ...]:
    """The columns of `row`, in order."""
    return _reader(columns)(row)


def history_values(
    row: models.Model, columns: tuple[str, ...], *, kind: str, actor: str, at: datetime, reason: str | None
) -> tuple[Any, ...]:
    """A history row of `row` as it stands: `kind` is + for new and ~ for changed."""
    return (*values_of(row, columns), at, kind, reason, actor)
