"""Run as a script, in a process of its own: more turns than connections, all of them in a body at once."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import django

if __name__ == "__main__":
    django.setup()

from django.db import connection, connections  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from runs import engine, services, workflow  # noqa: E402
from runs.context import Run  # noqa: E402
from runs.models import Run as RunRow  # noqa: E402
from tools import registry  # noqa: E402

TURNS = 32
together = threading.Barrier(TURNS)


class Nothing(BaseModel):
    """No input."""


def declare() -> None:
    """A tool that answers once all the turns are in it: one after the other they would never end."""

    @registry.tool(effect="read", name="crowd_meet", timeout=30)
    def meet(place: int) -> int:
        together.wait(20)
        time.sleep(0.05)
        return place

    @workflow.workflow("crowd.turns")
    def turns(run: Run, nothing: Nothing) -> list[int]:
        return [run.tool(meet, place) for place in range(3)]

    @workflow.workflow("crowd.branches")
    def branches(run: Run, nothing: Nothing) -> list[int]:
        return run.gather(*[run.later(meet, place) for place in range(TURNS)])


def in_threads() -> None:
    """32 turns, each on a thread, as in a worker."""
    runs = [services.start_run("crowd.turns", {}, actor="user:ana") for _ in range(TURNS)]

    def take(run_id: str) -> None:
        engine.advance(run_id, "wrk_crowd")
        connections.close_all()

    threads = [threading.Thread(target=take, args=(run.pk,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


if __name__ == "__main__":
    declare()
    in_threads()
    one = services.start_run("crowd.branches", {}, actor="user:ana")
    engine.advance(one.pk, "wrk_crowd")
    states: Any = list(RunRow.objects.values_list("workflow", "state"))
    pool = connection.pool
    stats = pool.get_stats() if pool else {}
    sys.stdout.write(
        json.dumps({"states": states, "size": stats.get("pool_max"), "made": stats.get("connections_num")})
    )
