"""Questions asked all the time: compiled once by Django, planned once by PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
from django.db import connection, models, transaction
from django.db.models import QuerySet

from runs.turns.checkpoint import numbered

Row = TypeVar("Row", bound=models.Model)
_PLACES = tuple(f"<value {number} that is asked for>" for number in range(3))


@dataclass(frozen=True)
class _Compiled(Generic[Row]):
    """A query as it is sent, and how its rows are read."""

    text: str
    values: tuple[Any, ...]  # with _PLACES where the values go
    compiler: Any
    converters: Any
    columns: list[str]

    def rows(self, model: type[Row], values: tuple[str, ...]) -> list[Row]:
        """What the database answers for `values`."""
        asked = dict(zip(_PLACES, values, strict=False))
        given = [asked.get(each, each) for each in self.values]
        if connection.queries_logged:
            connection.queries_log.append({"sql": self.text, "time": "0"})
        with connection.wrap_database_errors, psycopg.RawCursor(connection.connection) as cursor:
            found = cursor.execute(self.text, given, prepare=True).fetchall()
        read = self.compiler.apply_converters(found, self.converters) if self.converters else found
        return [model.from_db(connection.alias, self.columns, list(row)) for row in read]


class Lookup(Generic[Row]):
    """The rows of one model that belong to one text, such as an id, or to up to three.

    `question` gives the QuerySet for such texts. It is asked for it once: building and planning a query costs
    more than answering it. Where the database is SQLite, Django asks each time.
    """

    def __init__(self, question: Callable[..., QuerySet[Row]]) -> None:
        self._question = question
        self._compiled: _Compiled[Row] | None = None

    def __call__(self, *values: str) -> list[Row]:
        """The rows for `values`. Raises TransactionManagementError where rows are to be locked outside a
        transaction.
        """
        if connection.vendor != "postgresql":
            return list(self._question(*values))
        connection.ensure_connection()
        if self._compiled is None:
            self._compiled = self._compile(len(values))
        if self._locks and connection.get_autocommit():
            raise transaction.TransactionManagementError("Rows are locked in a transaction only.")
        return self._compiled.rows(self._model, values)

    def first(self, *values: str) -> Row | None:
        """The first of them, if any."""
        return next(iter(self(*values)), None)

    def _compile(self, count: int) -> _Compiled[Row]:
        asked = self._question(*_PLACES[:count])
        self._model, self._locks = asked.model, asked.query.select_for_update
        compiler = asked.query.get_compiler(connection.alias)
        text, values = compiler.as_sql()
        columns = [each.target.attname for each, _, _ in compiler.select]
        converters = compiler.get_converters([each for each, _, _ in compiler.select])
        return _Compiled(numbered(text), values, compiler, converters, columns)
