"""A workflow of each shape that these tests need, and rows by the hundred thousand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, models
from pydantic import BaseModel

from runs import workflow
from runs.context import Run
from tools import registry
from tools.contract import IdempotencyKey


class Case(BaseModel):
    """How many steps; seconds to wait."""

    steps: int = 1
    seconds: float = 0.0


@pytest.fixture(autouse=True)
def workflows(monkeypatch: pytest.MonkeyPatch, settings: object) -> Iterator[None]:
    """scale.asks waits for a person, scale.sleeps for the clock, scale.walks for nothing."""
    settings.HOLDPOINT_ACTIVATION = False  # type: ignore[attr-defined]
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))
    with registry.scratch():

        @registry.tool(effect="read", name="scale_look")
        def look(number: int) -> int:
            return number

        @registry.tool(effect="write", risk="medium", name="scale_write", rollback="None")
        def write(number: int, *, key: IdempotencyKey) -> int:
            return number

        @workflow.workflow("scale.asks")
        def asks(run: Run, case: Case) -> int:
            run.tool(look, 1)
            return int(run.tool(write, 2))

        @workflow.workflow("scale.sleeps")
        def sleeps(run: Run, case: Case) -> None:
            run.sleep(case.seconds)

        @workflow.workflow("scale.walks")
        def walks(run: Run, case: Case) -> int:
            return sum(run.tool(look, number) for number in range(case.steps))

        yield


def copy_row(row: models.Model, count: int, **spelled: str) -> None:
    """Insert `count` copies of `row`, numbered from 1; `spelled` says in SQL, with `n` for the number, what
    differs.
    """
    columns = [
        field.column
        for field in row._meta.concrete_fields
        if field.get_internal_type() != "BigAutoField" and not field.generated
    ]
    taken = [spelled.get(name, f't."{name}"') for name in columns]
    names = ", ".join(f'"{name}"' for name in columns)
    table = row._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{table}" ({names}) SELECT {", ".join(taken)} '  # noqa: S608 - our own columns
            f'FROM "{table}" t, generate_series(1, {count}) n WHERE t.id = %s',
            [row.pk],
        )


def numbered(prefix: str) -> str:
    """SQL for the id of the n-th copy."""
    return f"'{prefix}_' || lpad(n::text, 26, '0')"
