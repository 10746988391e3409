"""This project as one of several engines that are given the same work, one after the other.

Whoever compares engines loads this file: it needs their ``peers.base`` and ``common`` on the path. It starts
workers as an installation does, two processes of thirty-two threads, with gate, history and journal on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import common
from peers.base import BasePeer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.crew import Crew, inputs_of, prepare_people, workflow_of  # noqa: E402
from benchmarks.workload.marks import PLACE  # noqa: E402


class Peer(BasePeer):  # type: ignore[misc]
    """Two worker processes of threads on PostgreSQL and Redis, and the verbs that anybody calls."""

    name = "holdpoint"
    db = "perf_holdpoint"

    def up(self, what: str) -> None:
        """An empty database, an empty broker, people and active workflows."""
        super().up(what)
        redis = os.path.join(common.HERE, "redis.sh")
        for word in ("start", "flush"):
            subprocess.run([redis, word], check=True)
        os.environ.update(self._environment())
        self._set_up_once()
        from django.core.management import call_command
        from django.db import connection

        connection.close()
        call_command("migrate", verbosity=0)
        self.reviewer = prepare_people()
        self.run_of: dict[str, str] = {}
        self.crew = Crew(dict(os.environ), Path(os.environ["HOLDPOINT_DATA"]), count=self.nworkers)

    def _environment(self) -> dict[str, str]:
        data = Path(common.WORK) / "holdpoint"
        data.mkdir(exist_ok=True)
        return {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "HOLDPOINT_APPS": "benchmarks.workload",
            "HOLDPOINT_DATA": str(data),
            "HOLDPOINT_LOG_LEVEL": "WARNING",
            "DATABASE_URL": f"{common.PGURL}/{self.db}",
            "REDIS_URL": common.REDISURL,
            PLACE: common.BODYLOG,
        }

    def _set_up_once(self) -> None:
        from django.apps import apps

        if not apps.ready:
            import django

            django.setup()

    def start_workers(self, recover: bool = False) -> None:
        """Two processes; after a kill nothing but their own caretakers brings the runs back."""
        self.crew.start()
        self.workers = self.crew.workers

    def kill_workers(self) -> None:
        """SIGKILL for all of them."""
        self.crew.kill()
        self.workers = []

    def submit(self, ids: list[str], kind: str) -> None:
        """As an application starts its runs: many at once, or one."""
        from runs import services

        values = [inputs_of(kind, name) for name in ids]
        if len(ids) == 1:
            started = [services.start_run(workflow_of(kind), values[0], actor="user:ana")]
        else:
            started = services.start_runs(workflow_of(kind), values, actor="user:ana")
        self.run_of.update(zip(ids, (run.pk for run in started), strict=True))

    def signal(self, name: str) -> None:
        """The reviewer says yes to what the run asks."""
        from benchmarks.crew import approve

        approve(self.run_of[name], self.reviewer)

    def suspended_count(self, ids: list[str]) -> int:
        """How many wait for the reviewer."""
        return self._count(ids, "waiting")

    def done_count(self, ids: list[str]) -> int:
        """How many have succeeded."""
        return self._count(ids, "succeeded")

    def _count(self, ids: list[str], state: str) -> int:
        wanted = [self.run_of[name] for name in ids]
        query = "select count(*) from runs_run where id = any(%s) and state = %s"
        found: Any = self.conn.execute(query, (wanted, state)).fetchone()
        return int(found[0])

    def down(self) -> None:
        """End everything that was started here."""
        from django.db import connection

        connection.close()
        self.crew.stop()
        self.workers = []
        super().down()
