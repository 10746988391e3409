"""Where the measuring is done: a database and a broker of its own, in folders that are removed afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.workload.marks import PLACE
from ops.launch.broker import Broker
from ops.launch.postgres import PostgresCluster

#: Settings of the caller that would lead somewhere else, or change what is measured.
NOT_OURS = (
    "DATABASE_URL",
    "REDIS_URL",
    "HOLDPOINT_HTTPS",
    "HOLDPOINT_QUEUE_LIMIT",
    "HOLDPOINT_DATABASE_POOL",
)


class MeasuredCluster(PostgresCluster):
    """A server that keeps what it says it kept, and can count statements when it is asked to."""

    def __init__(self) -> None:
        super().__init__(durable=True)

    def _command(self, connections: int) -> list[str]:
        made = super()._command(connections)
        if not self.can_count:
            return made
        counting = "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=none"
        return [*made, *(text for option in counting for text in ("-c", option))]

    @property
    def can_count(self) -> bool:
        """Whether pg_stat_statements is installed with the server."""
        return any(self._programs.parent.glob("lib/**/pg_stat_statements.so"))


@contextmanager
def place(database: str) -> Iterator[dict[str, str]]:
    """The environment of processes that are measured, on ``postgres`` or ``sqlite``.

    Raises NoPostgres, NoBroker and NotReady when a server is missing or does not start.
    """
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hp-bench-")))
        env = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        env |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "HOLDPOINT_DATA": str(data),
            "HOLDPOINT_APPS": "benchmarks.workload",
            "HOLDPOINT_LOG_LEVEL": "WARNING",
            PLACE: str(data / "marks"),
        }
        if database == "postgres":
            cluster = stack.enter_context(MeasuredCluster())
            env["DATABASE_URL"] = cluster.create_database("bench")
            env["HOLDPOINT_BENCH_CAN_COUNT"] = "1" if cluster.can_count else ""
        else:
            env["DATABASE_URL"] = f"sqlite:///{data / 'bench.sqlite3'}"
        # Here too is what the embedded mode uses; a broker of the user is left alone.
        env["REDIS_URL"] = stack.enter_context(Broker(data)).url
        yield env
