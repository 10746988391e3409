"""A claim against somebody who wakes the run at the same moment."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from django.db import connection, connections
from pydantic import BaseModel

from ops.launch.processes import wait_until
from runs import services, workflow
from runs.context import Run
from runs.crew.workers import _plain_parameters
from runs.models import Run as RunRow
from runs.turns import lease
from runs.turns.turn import Turn

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


class Case(BaseModel):
    """An input."""


def test_a_wake_up_that_is_committed_while_the_claim_waits_is_seen_later() -> None:
    """The claim waits for the row and then sees it anew, but its steps are those from before."""

    @workflow.workflow("test.claimed")
    def flow(run: Run, case: Case) -> None: ...

    run = services.start_run("test.claimed", {}, actor="user:ana")
    taken: list[Turn | None] = []

    def claim() -> None:
        taken.append(lease.claim(run.id, "wrk_a"))
        connections.close_all()

    def waits() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return cursor.fetchone()[0]

    with psycopg.connect(**_plain_parameters()) as waker:
        waker.execute("UPDATE runs_run SET wakes = wakes + 1 WHERE id = %s", (run.id,))
        thread = threading.Thread(target=claim)
        thread.start()
        assert wait_until(lambda: bool(waits()), 10)
        waker.commit()
        thread.join(10)
    (turn,) = taken
    assert turn is not None
    assert (turn.woken, RunRow.objects.get(pk=run.id).wakes) == (0, 1)
    turn.run.wait()
    assert not turn.commit(lease=None, changes={"state": "waiting"}, wakes=turn.woken)
