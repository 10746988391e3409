"""What the database says about itself: bytes, statements, transactions that wrote."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from benchmarks.crew import Crew


class NotCounted(Exception):
    """This database does not count that; the message says why."""


def bytes_by_table() -> dict[str, int]:
    """Bytes of every table with its indexes and what lies beside its rows."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
                "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
            )
            return {name: int(size) for name, size in cursor.fetchall()}
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return {"the file": int(cursor.fetchone()[0])}


def transactions() -> int:
    """How many transactions have written so far."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        return int(cursor.fetchone()[0])


@contextmanager
def counting(crew: Crew) -> Iterator[Callable[[], int]]:
    """Have the server count the statements of all sessions that begin inside; yields how many there were.

    Raises NotCounted on SQLite, and where pg_stat_statements is not installed.
    """
    if connection.vendor != "postgresql":
        raise NotCounted("SQLite does not count statements.")
    if not os.environ.get("HOLDPOINT_BENCH_CAN_COUNT"):
        raise NotCounted("pg_stat_statements is not installed with this PostgreSQL.")
    _ask_server("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    _ask_server("ALTER DATABASE bench SET pg_stat_statements.track = 'all'")
    crew.stop()
    crew.start()
    try:
        yield _counted
    finally:
        _ask_server("ALTER DATABASE bench RESET pg_stat_statements.track")
        crew.stop()
        crew.start()


def _ask_server(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _counted() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements JOIN pg_database d ON d.oid = dbid "
            "WHERE d.datname = current_database() AND query NOT LIKE %s",
            ["%pg_stat_statements%"],
        )
        return int(cursor.fetchone()[0])
