"""Migrations: on PostgreSQL, Django gives every key of text a second index for LIKE; nobody here asks so."""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db.migrations import RunPython

_THEIRS = r"""
    SELECT i.indexname FROM pg_indexes i
     WHERE i.schemaname = current_schema() AND i.tablename = ANY(%s) AND i.indexdef LIKE '%%\_pattern\_ops)%%'
"""


def drop_pattern_indexes(app_label: str) -> RunPython:
    """The operation that removes them from the tables that an app has before this migration."""

    def drop(apps: Apps, schema_editor: Any) -> None:
        connection = schema_editor.connection
        if connection.vendor != "postgresql":
            return
        tables = [model._meta.db_table for model in apps.get_app_config(app_label).get_models()]
        with connection.cursor() as cursor:
            cursor.execute(_THEIRS, [tables])
            for (name,) in cursor.fetchall():
                schema_editor.execute(f"DROP INDEX {connection.ops.quote_name(name)}", params=None)

    return RunPython(drop, RunPython.noop)
