"""The one write of a turn: results, the next intents, history, journal, head and lease, all or nothing.

On PostgreSQL it is one statement and so one commit, prepared once per shape: every sub-write is joined to
``fence``, the guarded update of the run row, so that a worker whose lease was taken writes nothing at all. On
SQLite the same rows are written by plain statements in one immediate transaction.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

import psycopg
from django.db import connection, models, transaction

from runs.clock import SQLITE_CLOCK
from runs.models import JournalEntry, Run
from tools import orders

# One writer at a time in this process: SQLite lets waiting writers starve, a lock here serves them in turn.
_sqlite_writer = threading.RLock()


@contextmanager
def sqlite_turn() -> Iterator[None]:
    """Wait for this process's place to write, where the database is SQLite."""
    if connection.vendor != "sqlite":
        yield
        return
    with _sqlite_writer:
        yield


@contextmanager
def own_transaction() -> Iterator[None]:
    """An ordinary transaction of several statements, in turn with the other writers of this process."""
    with sqlite_turn(), transaction.atomic():
        yield


@dataclass
class Write:
    """Rows of one table. `updates` are matched by primary key; `inserts` are new. All joined to the fence."""

    table: type[models.Model]
    columns: tuple[str, ...]
    inserts: list[tuple[Any, ...]] = field(default_factory=list)
    updates: list[tuple[Any, ...]] = field(default_factory=list)  # the primary key comes first
    once: bool = False  # a row that is there already is left as it is
    refills: str = ""  # as `once`, but for this column where it is NULL there: it is filled in again


@dataclass
class Fence:
    """The guard: the run row must still be ours, at the head we know and, to go to wait, not woken since."""

    run_id: str
    owner: str
    epoch: int
    head_seq: int
    lease_seconds: float | None  # None: the turn ends here, the lease is given back
    changes: dict[str, Any]  # columns of the run row
    wakes: int | None = None
    orders: int | None = None  # the count of orders by which what begins here was allowed; see tools.orders


def write(fence: Fence, writes: Sequence[Write]) -> bool:
    """Write everything, or nothing when the fence does not hold (False).

    Raises django.db.OperationalError when the connection is lost: whether it was committed is then unknown,
    and the caller reads the head again.
    """
    used = [part for part in writes if part.inserts or part.updates]
    if connection.vendor == "postgresql":
        return _write_postgresql(fence, used)
    with own_transaction():
        return _write_sqlite(fence, used)


def put(writes: Sequence[Write]) -> None:
    """Write the rows of `writes` in one go, in the caller's transaction and joined to no fence: the caller
    has locked what it changes.

    Raises django.db.IntegrityError. Signals are not sent: history is among the writes, or is not written.
    """
    used = [part for part in writes if part.inserts or part.updates]
    if not used:
        return
    if connection.vendor == "postgresql":
        execute_prepared(_unfenced_statement(_shape_of(used)), _texts_of(used))
        return
    with connection.wrap_database_errors:
        _rows_sqlite(used)


@lru_cache(maxsize=128)
def _unfenced_statement(shape: tuple[Any, ...]) -> str:
    return numbered(f"WITH {', '.join(_parts(shape, fenced=False))} SELECT 1")


# PostgreSQL: one prepared statement.


def _write_postgresql(fence: Fence, writes: Sequence[Write]) -> bool:
    text = _statement(tuple(fence.changes), _guards_of(fence), _shape_of(writes))
    return execute_prepared(text, _fence_texts(fence) + _texts_of(writes)) is not None


def _shape_of(writes: Sequence[Write]) -> tuple[Any, ...]:
    return tuple((w.table, w.columns, len(w.inserts), len(w.updates), _unless_there(w)) for w in writes)


def _texts_of(writes: Sequence[Write]) -> list[Any]:
    values: list[Any] = []
    for part in writes:
        kinds = _kinds(part.table, part.columns)
        for row in part.inserts:
            values += _as_texts(kinds, row)
        for key, *changed in part.updates:
            values.append(key)
            values += _as_texts(kinds, changed)
    return values


def execute_prepared(text: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
    """Run one statement that gives rows, with $1-style parameters, planned once; its first row or None.

    Django's own cursor binds on the client and plans anew each time, which doubles the price of a step.
    """
    connection.ensure_connection()
    if connection.queries_logged:
        connection.queries_log.append({"sql": text, "time": "0"})
    with connection.wrap_database_errors, psycopg.RawCursor(connection.connection) as cursor:
        cursor.execute(text, values, prepare=True)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


Guards = tuple[bool, bool, bool]  # whether it is leased, may go to wait, and begins what orders can stop


def _guards_of(fence: Fence) -> Guards:
    return fence.lease_seconds is not None, fence.wakes is not None, fence.orders is not None


@lru_cache(maxsize=512)
def _statement(changed: tuple[str, ...], guards: Guards, shape: tuple[Any, ...]) -> str:
    parts = [_fence_statement(changed, guards), *_parts(shape, fenced=True)]
    return numbered(f"WITH {', '.join(parts)} SELECT 1 FROM fence")


def _parts(shape: tuple[Any, ...], *, fenced: bool) -> Iterator[str]:
    for number, (table, columns, inserts, updates, unless) in enumerate(shape):
        if inserts:
            yield f"i{number} AS ({_insert(table, columns, inserts, fenced=fenced)}{unless})"
        if updates:
            yield f"u{number} AS ({_update(table, columns, updates, fenced=fenced)})"


def _unless_there(part: Write) -> str:
    if part.refills:
        table, key = part.table._meta.db_table, part.table._meta.pk.column
        filled = f'"{part.refills}" = excluded."{part.refills}"'
        return f' ON CONFLICT ("{key}") DO UPDATE SET {filled} WHERE "{table}"."{part.refills}" IS NULL'
    return " ON CONFLICT DO NOTHING" if part.once else ""


def numbered(text: str) -> str:
    """The statement with PostgreSQL's own parameters: $1 for the first %s, and so on.

    psycopg reads a statement this long anew at every use to find its %s; this is done once a shape.
    """
    parts = text.split("%s")
    return "".join(f"{part}${place}" for place, part in enumerate(parts[:-1], start=1)) + parts[-1]


def _fence_statement(changed: tuple[str, ...], guards: Guards) -> str:
    leased, may_wait, ordered = guards
    kinds = _kinds(Run, changed)
    sets = [f'"{name}" = %s::{kind}' for name, kind in zip(changed, kinds, strict=True)]
    if leased:
        sets.append("lease_until = clock_timestamp() + %s::float8 * interval '1 second'")
    guard = "id = %s::text AND lease_owner = %s::text AND lease_epoch = %s::bigint AND head_seq = %s::bigint"
    if may_wait:
        guard += " AND wakes = %s::bigint"
    if ordered:  # asked before the row is locked: the order is switch, run
        guard += f" AND {orders.COUNT} = %s::bigint"
    return f"fence AS (UPDATE runs_run SET {', '.join(sets)} WHERE {guard} RETURNING id)"


def _insert(table: type[models.Model], columns: tuple[str, ...], count: int, *, fenced: bool) -> str:
    kinds = _kinds(table, columns)
    row = "(" + ", ".join(f"%s::{kind}" for kind in kinds) + ")"
    names = ", ".join(f'"{name}"' for name in columns)
    clock = ', "recorded_at"' if table is JournalEntry else ""
    taken = ", clock_timestamp()" if table is JournalEntry else ""
    source = f"{'fence, ' if fenced else ''}(VALUES {', '.join([row] * count)}) AS v({names})"
    return f'INSERT INTO "{table._meta.db_table}" ({names}{clock}) SELECT v.*{taken} FROM {source}'


def _update(table: type[models.Model], columns: tuple[str, ...], count: int, *, fenced: bool) -> str:
    kinds = _kinds(table, columns)
    row = "(%s::text, " + ", ".join(f"%s::{kind}" for kind in kinds) + ")"
    names = ", ".join(f'"{name}"' for name in columns)
    sets = ", ".join(f'"{name}" = v."{name}"' for name in columns)
    return (
        f'UPDATE "{table._meta.db_table}" AS t SET {sets} FROM {"fence, " if fenced else ""}'
        f'(VALUES {", ".join([row] * count)}) AS v("key", {names}) WHERE t.id = v."key"'
    )


# SQLite: the same rows, by plain statements.


def _write_sqlite(fence: Fence, writes: Sequence[Write]) -> bool:
    # Without Django's cursor, which reads each statement anew for its parameters.
    with connection.wrap_database_errors:
        if fence.orders is not None and _run_sqlite(orders.COUNT_SQLITE, ()).fetchone() != (fence.orders,):
            return False
        found = _run_sqlite(_fence_sqlite(fence), _fence_values(fence))
        if found.rowcount != 1:
            return False
        _rows_sqlite(writes)
    return True


def _rows_sqlite(writes: Sequence[Write]) -> None:
    for part in writes:
        kinds = _kinds(part.table, part.columns)
        for row in part.inserts:
            _run_sqlite(_insert_sqlite(part.table, part.columns, _unless_there(part)), _adapt(kinds, row))
        for key, *changed in part.updates:
            _run_sqlite(_update_sqlite(part.table, part.columns), [*_adapt(kinds, changed), key])


def _run_sqlite(text: str, values: Sequence[Any]) -> Any:
    if connection.queries_logged:
        connection.queries_log.append({"sql": text, "time": "0"})
    return connection.connection.execute(text, values)


def _fence_sqlite(fence: Fence) -> str:
    return _fence_text_sqlite(tuple(fence.changes), fence.lease_seconds is not None, fence.wakes is not None)


@lru_cache(maxsize=128)
def _fence_text_sqlite(changed: tuple[str, ...], leased: bool, may_wait: bool) -> str:
    sets = [f'"{name}" = ?' for name in changed]
    if leased:
        sets.append("lease_until = STRFTIME('%Y-%m-%d %H:%M:%f', 'now', ?)")
    guard = "id = ? AND lease_owner = ? AND lease_epoch = ? AND head_seq = ?"
    if may_wait:
        guard += " AND wakes = ?"
    return f"UPDATE runs_run SET {', '.join(sets)} WHERE {guard}"


@cache
def _insert_sqlite(table: type[models.Model], columns: tuple[str, ...], unless: str) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" * len(columns))
    if table is JournalEntry:
        names += ', "recorded_at"'
        marks += f", {SQLITE_CLOCK.replace('%%', '%')}"
    return f'INSERT INTO "{table._meta.db_table}" ({names}) VALUES ({marks}){unless}'


@cache
def _update_sqlite(table: type[models.Model], columns: tuple[str, ...]) -> str:
    sets = ", ".join(f'"{name}" = ?' for name in columns)
    return f'UPDATE "{table._meta.db_table}" SET {sets} WHERE id = ?'


# Values: one spelling per kind of column, so that a statement has one plan and both databases the same rows.


def _fence_texts(fence: Fence) -> list[Any]:
    values = _as_texts(_kinds(Run, tuple(fence.changes)), fence.changes.values())
    if fence.lease_seconds is not None:
        values.append(str(fence.lease_seconds))
    values += [fence.run_id, fence.owner, str(fence.epoch), str(fence.head_seq)]
    if fence.wakes is not None:
        values.append(str(fence.wakes))
    if fence.orders is not None:
        values.append(str(fence.orders))
    return values


def _fence_values(fence: Fence) -> list[Any]:
    kinds = _kinds(Run, tuple(fence.changes))
    values = _adapt(kinds, fence.changes.values())
    if fence.lease_seconds is not None:
        values.append(f"+{fence.lease_seconds:.3f} seconds")
    values += [fence.run_id, fence.owner, fence.epoch, fence.head_seq]
    if fence.wakes is not None:
        values.append(fence.wakes)
    return values


_POSTGRESQL_KINDS = {
    "JSONField": "jsonb",
    "DateTimeField": "timestamptz",
    "BinaryField": "bytea",
    "DecimalField": "numeric",
    "BooleanField": "boolean",
    "BigIntegerField": "bigint",
    "PositiveIntegerField": "integer",
    "PositiveSmallIntegerField": "smallint",
    "FloatField": "float8",
    "IntegerField": "integer",
    "AutoField": "integer",
    "BigAutoField": "bigint",
}


@cache
def _kinds(table: type[models.Model], columns: tuple[str, ...]) -> tuple[str, ...]:
    by_column = {f.column: f for f in table._meta.concrete_fields}
    return tuple(_kind_of(by_column[name]) for name in columns)


def _kind_of(field: Any) -> str:
    while field.remote_field is not None:
        field = field.target_field
    return _POSTGRESQL_KINDS.get(field.get_internal_type(), "text")


def _as_texts(kinds: Sequence[str], values: Iterable[Any]) -> list[Any]:
    # Text for everything but bytes: a parameter's type never varies, so the prepared statement is found
    # again.
    return [
        value if value is None or type(value) is str and kind != "jsonb" else _SPELLED.get(kind, str)(value)
        for kind, value in zip(kinds, values, strict=True)
    ]


def _adapt(kinds: Sequence[str], values: Iterable[Any]) -> list[Any]:
    return [_adapted(kind, value) for kind, value in zip(kinds, values, strict=True)]


def _adapted(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "jsonb":
        return dump(value)
    if kind == "timestamptz":
        return str(value.astimezone(UTC).replace(tzinfo=None))
    if kind == "numeric":
        return str(Decimal(value))
    return str(value) if kind == "text" else value


def dump(value: Any) -> str:
    """A value as JSON text for a JSON column. Raises TypeError for what is not JSON."""
    return _json(value)


# Made once: json.dumps with these options makes an encoder at each call.
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SPELLED: dict[str, Callable[[Any], Any]] = {"jsonb": dump, "timestamptz": datetime.isoformat, "bytea": bytes}
