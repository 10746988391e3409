"""Claiming a run: one compare-and-set on its row, with its steps loaded in the same statement.

The claim raises the epoch; every later write of the turn carries it, so whoever claimed before can write no
more.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import JSONField, Q

from runs.actors import acting_as
from runs.clock import TurnClock, db_now
from runs.models import Run, Step
from runs.states import RunState
from runs.stops import Fenced
from runs.turns.checkpoint import execute_prepared, numbered, own_transaction
from runs.turns.columns import HISTORY_STAMP, RUN_HISTORY
from runs.turns.turn import LEASE, Turn
from tools.states import sources_of

_LEASE_TIME = timedelta(seconds=LEASE)
_RUN = tuple(str(f.column) for f in Run._meta.concrete_fields)
_RUN_JSON = frozenset(str(f.column) for f in Run._meta.concrete_fields if isinstance(f, JSONField))
_STEP = tuple(str(f.column) for f in Step._meta.concrete_fields)
_STEP_TIMES = tuple(
    str(f.column) for f in Step._meta.concrete_fields if f.get_internal_type() == "DateTimeField"
)
# jsonb hands numbers over as floats; the columns are exact.
_STEP_DECIMALS = tuple(
    str(f.column) for f in Step._meta.concrete_fields if f.get_internal_type() == "DecimalField"
)


def claim(run_id: str, worker: str, *, suspects: bool = True) -> Turn | None:
    """Take the run for `worker` if it is ready: the turn with its steps, or None when somebody else was
    first, or when it must run alone and `suspects` says that this is no place for that.
    """
    if connection.vendor == "postgresql":
        return _claim_postgresql(run_id, worker, suspects)
    with own_transaction():
        return _claim_sqlite(run_id, worker, suspects)


def _claim_postgresql(run_id: str, worker: str, suspects: bool) -> Turn | None:
    row = execute_prepared(_CLAIM, (worker, str(LEASE), run_id, str(suspects), f"worker:{worker}"))
    if row is None:
        return None
    *run_values, now, (woken, head), step_rows = row
    run = Run.from_db("default", list(_RUN), [_read(n, v) for n, v in zip(_RUN, run_values, strict=True)])
    # The update waits for whoever has the row, and then sees what they wrote; the steps are read as they were
    # when the statement began. Where something was written in between they are read again; otherwise the
    # count of wake-ups that goes with them is the one from then.
    if head != run.head_seq:
        return Turn(run, _steps_of(run), worker=worker, clock=TurnClock.started(now))
    steps = [_step_of(values) for values in json.loads(step_rows or "[]")]
    turn = Turn(run, steps, worker=worker, clock=TurnClock.started(now))
    turn.woken = woken
    return turn


def _read(name: str, value: Any) -> Any:
    # Django has psycopg hand jsonb over as text, for its own fields to read.
    return json.loads(value) if name in _RUN_JSON and value is not None else value


def _claim_statement() -> str:
    sources = ", ".join(f"'{state}'" for state in sources_of(Run, "claim"))
    cleanup = ", ".join(f"'{state}'" for state in sources_of(Run, "claim_cleanup"))
    columns = ", ".join(f'claimed."{name}"' for name in _RUN)
    history = ", ".join(f'"{name}"' for name in (*RUN_HISTORY, *HISTORY_STAMP))
    kept = ", ".join(f'claimed."{name}"' for name in RUN_HISTORY)
    step = ", ".join(f's."{name}"' for name in _STEP)
    return f"""
        WITH claimed AS (
            UPDATE runs_run
               SET state = CASE WHEN state IN ({cleanup}) THEN state ELSE 'running' END,
                   lease_owner = %s::text, lease_epoch = lease_epoch + 1,
                   lease_until = clock_timestamp() + %s::float8 * interval '1 second',
                   started_at = coalesce(started_at, clock_timestamp()), wake_at = NULL, waiting_for = ''
             WHERE id = %s::text AND (NOT alone OR %s::boolean)
               AND ((state IN ({sources}) AND placed IS NOT FALSE)
                    OR (state IN ({cleanup}) AND lease_owner = ''))
         RETURNING *),
        written AS (
            INSERT INTO runs_historicalrun ({history})
            SELECT {kept}, clock_timestamp(), '~', NULL, %s::text FROM claimed)
        SELECT {columns}, clock_timestamp(),
               (SELECT ARRAY[r.wakes, r.head_seq] FROM runs_run r WHERE r.id = claimed.id),
               (SELECT jsonb_agg(jsonb_build_array({step}) ORDER BY s.position)
                  FROM runs_step s WHERE s.run_id = claimed.id AND position('~' IN s.path) = 0)
          FROM claimed"""


_CLAIM = numbered(_claim_statement())


def _step_of(values: list[Any]) -> Step:
    named = dict(zip(_STEP, values, strict=True))
    for name in _STEP_TIMES:
        if named[name] is not None:
            named[name] = datetime.fromisoformat(named[name])
    for name in _STEP_DECIMALS:
        if named[name] is not None:
            named[name] = Decimal(str(named[name]))
    return Step.from_db("default", list(_STEP), list(named.values()))


def _claim_sqlite(run_id: str, worker: str, suspects: bool) -> Turn | None:
    placed = Q(placed=True) | Q(placed=None)
    ready = (Q(state__in=sources_of(Run, "claim")) & placed) | Q(
        state__in=sources_of(Run, "claim_cleanup"), lease_owner=""
    )
    run = Run.objects.filter(ready, pk=run_id).first()
    if run is None or (run.alone and not suspects):
        return None
    now = db_now()
    run.claim_cleanup() if run.state == RunState.CANCELLING else run.claim()
    run.lease_owner, run.lease_epoch = worker, run.lease_epoch + 1
    run.lease_until = now + _LEASE_TIME
    run.started_at = run.started_at or now
    run.wake_at, run.waiting_for = None, ""
    with acting_as(f"worker:{worker}"):
        run.save()
    return Turn(run, _steps_of(run), worker=worker, clock=TurnClock.started(now))


def load_again(turn: Turn) -> Turn:
    """The same claim over what is on record now: for a turn that was woken before it had gone to wait.

    Raises Fenced when another turn has claimed the run since, be it one of the same worker.
    """
    run = Run.objects.get(pk=turn.run.id)
    if (run.lease_owner, run.lease_epoch) != (turn.worker, turn.run.lease_epoch):
        raise Fenced(f"{run.id} has another owner since epoch {run.lease_epoch}")
    again = Turn(run, _steps_of(run), worker=turn.worker, clock=turn.clock)
    again.lease_ends = turn.lease_ends
    return again


def _steps_of(run: Run) -> list[Step]:
    # Steps that a person had done over keep their rows, under a path with the generation they belong to.
    return list(run.steps.exclude(path__contains="~"))
