"""What a step writes: each row once, and no index again that nobody reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db import connection

from runs import engine, services
from runs.models import Run as RunRow

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]
#: Columns that change with every step of a run, or with the end of every step and call.
MOVING = {
    "runs_run": {"head_seq", "head_hash", "lease_until", "active_ms"},
    "runs_step": {"state", "result", "blob", "finished_at"},
    "tools_toolcall": {"state", "result_digest", "finished_at"},
}
OURS = ("tools", "runs", "approvals", "ops")


def asked(sql: str, *values: object) -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(values))
        return list(cursor.fetchall())


def columns_of_indexes(table: str) -> Iterator[tuple[str, str]]:
    """Every index of `table` with each column that it names, in its condition too."""
    yield from asked(  # type: ignore[misc]
        "SELECT i.relname, a.attname FROM pg_depend d JOIN pg_class i ON i.oid = d.objid AND i.relkind = 'i' "
        "JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid "
        "WHERE d.classid = 'pg_class'::regclass AND d.refobjid = %s::regclass",
        table,
    )


@pytest.mark.parametrize("table", MOVING)
def test_no_index_names_what_changes_all_the_time(table: str) -> None:
    found = list(columns_of_indexes(table))
    assert found, "no index was found at all"
    assert not [(index, column) for index, column in found if column in MOVING[table]]


def test_the_end_of_a_step_is_written_in_place() -> None:
    def changes(table: str) -> tuple[int, int]:
        ((every, in_place),) = asked(
            "SELECT pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_hot_updated(oid) "
            "FROM pg_class WHERE oid = %s::regclass",
            table,
        )
        return int(every), int(in_place)

    run = services.start_run("scale.walks", {"steps": 100}, actor="user:ana")
    before = {table: changes(table) for table in MOVING}
    engine.advance(run.pk, "wrk_1")
    assert RunRow.objects.get(pk=run.pk).state == "succeeded"
    for table in ("runs_step", "tools_toolcall"):
        every, in_place = (now - then for now, then in zip(changes(table), before[table], strict=True))
        assert every == 100
        # The last rows of a page find no room beside them.
        assert in_place > 80, table


def test_no_text_has_a_second_index_for_patterns() -> None:
    """Whoever adds a table adds `drop_pattern_indexes` to the migration after it."""
    named = asked(
        "SELECT indexname FROM pg_indexes WHERE tablename LIKE ANY(%s) AND indexdef LIKE '%%pattern_ops%%'",
        [f"{app}_%" for app in OURS],
    )
    assert not named


def test_every_index_and_constraint_that_a_model_declares_is_there() -> None:
    named = {name for (name,) in asked("SELECT indexname FROM pg_indexes")}
    named |= {name for (name,) in asked("SELECT conname FROM pg_constraint")}
    declared = {
        rule.name
        for model in apps.get_models()
        if model._meta.app_label in OURS
        for rule in (*model._meta.indexes, *model._meta.constraints)
    }
    assert "approval_one_pending_a_step" in declared
    assert declared <= named


def test_rows_of_history_are_numbered_for_years() -> None:
    kinds = asked(
        "SELECT DISTINCT data_type FROM information_schema.columns WHERE column_name = 'history_id'"
    )
    assert kinds == [("bigint",)]
