"""The processes of Holdpoint itself: workers, the clock, the web server."""

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from ops.launch.processes import ChildProcess

#: Where a worker says that it takes messages: it makes this file.
READY_FILE = "HOLDPOINT_READY_FILE"
#: Queues whose workers spend most of their time waiting: threads suit them.
OF_TURNS = frozenset({"runs", "agents", "caretakers"})


def command_of(name: str, queues: Sequence[str], concurrency: int, pool: str) -> list[str]:
    """The command line of a worker; `pool` is "threads" or "prefork"."""
    shape = ["--queues", ",".join(queues), "--pool", pool, "--concurrency", str(concurrency)]
    return [sys.executable, "-m", "config.worker", *shape, "--hostname", f"{name}@%h"]


def environment_of(pool: str) -> dict[str, str]:
    """What a worker with that pool needs in its environment besides."""
    # A child of a prefork pool has one thread: it keeps one connection, where Celery would close
    # a pool after each message.
    return {"HOLDPOINT_DATABASE_POOL": "0"} if pool == "prefork" else {}


def keeping_bytecode(env: Mapping[str, str]) -> dict[str, str]:
    """`env` for a process that keeps compiled code: without it every start compiles some 1500 files."""
    return {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}


class WorkerProcess(ChildProcess):
    """`python -m config.worker` on some queues.

    `env` must say where the data is (HOLDPOINT_DATA, DATABASE_URL, REDIS_URL as needed). `pool` is "threads"
    or "prefork", `concurrency` the number of threads or children.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        queues: Sequence[str],
        concurrency: int,
        pool: str = "threads",
        *,
        name: str = "worker",
        folder: Path | None = None,
    ) -> None:
        place = folder or Path(env["HOLDPOINT_DATA"])
        self._ready_file = place / f".ready-{name}-{os.getpid()}-{secrets.token_hex(4)}"
        super().__init__(
            name,
            command_of(name, queues, concurrency, pool),
            log=place / "logs" / f"{name}.log",
            env=keeping_bytecode({**env, READY_FILE: str(self._ready_file), **environment_of(pool)}),
        )

    def start(self) -> Self:
        """Starts it, not ready again until it says so anew."""
        self._ready_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ready_file.unlink(missing_ok=True)
        super().start()
        return self

    def ready(self) -> bool:
        """Whether it takes messages from the broker."""
        return self.alive() and self._ready_file.exists()

    def kill(self) -> None:
        """Ends it and all its children at once."""
        super().kill()
        self._ready_file.unlink(missing_ok=True)


class BeatProcess(ChildProcess):
    """`celery beat`: sends the caretakers on their rounds; keeps no file."""

    def __init__(self, env: Mapping[str, str], *, folder: Path | None = None) -> None:
        place = folder or Path(env["HOLDPOINT_DATA"])
        command = [sys.executable, "-m", "celery", "-A", "config.celery", "beat", "--loglevel", "INFO"]
        # The static schedule needs no memory: every round is safe to run twice, or late.
        memory = ["--scheduler", "celery.beat:Scheduler", "--pidfile="]
        super().__init__(
            "beat", [*command, *memory], log=place / "logs" / "beat.log", env=keeping_bytecode(env)
        )


class WebProcess(ChildProcess):
    """Uvicorn on one loopback port."""

    def __init__(self, env: Mapping[str, str], port: int, *, folder: Path | None = None) -> None:
        place = folder or Path(env["HOLDPOINT_DATA"])
        command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--host", "127.0.0.1"]
        shape = ["--port", str(port), "--lifespan", "off", "--no-access-log", "--no-server-header"]
        shape += ["--timeout-graceful-shutdown", "3"]
        super().__init__("web", [*command, *shape], log=place / "logs" / "web.log", env=keeping_bytecode(env))
