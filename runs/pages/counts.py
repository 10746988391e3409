"""How many runs there are in each state, in a time that does not grow with their number."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from runs.models import Run
from runs.states import RunState
from tools.counting import MOST, Count


def by_state(fits: Q, few: QuerySet[Run] | None = None, most: int = MOST) -> dict[RunState, Count]:
    """How many runs that were not put away fit, by state; one statement.

    Of each state the `most` newest are looked at: where it has more of them, those that fit are counted there
    and there may be others. With `few`, those rows are counted as they are.
    """
    if few is not None:
        states = list(few.values_list("state", flat=True))
        return {state: Count(states.count(state)) for state in RunState}
    parts: list[str] = []
    values: list[Any] = []
    for state in RunState:
        part, given = _newest(state, fits, most + 1).query.sql_with_params()
        counted = f"SELECT '{state.value}', COUNT(*), SUM(fit) FROM ({part}) AS newest"  # noqa: S608 - Django's
        parts.append(counted)
        values += given
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), values)
        found = cursor.fetchall()
    return {RunState(state): Count(min(fit or 0, most), seen > most) for state, seen, fit in found}


def _newest(state: RunState, fits: Q, count: int) -> QuerySet[Run, Any]:
    one = Value(1, IntegerField())
    fit = Case(When(fits, then=one), default=Value(0, IntegerField())) if fits else one
    rows = Run.objects.filter(state=state, archived_at=None).order_by("-created_at")
    return rows.annotate(fit=fit).values_list("fit")[:count]
