"""Worker processes: their heartbeat, and the lock that proves within a second that one is gone.

A worker holds a lock for as long as it lives: a session advisory lock on a connection of its own
(PostgreSQL), or ``flock`` on a file (SQLite). Whoever can take that lock knows that the worker can hold no
lease any more. With PostgreSQL a lost connection frees the lock as well, so only a process that is gone from
this machine is proof that nothing of it is still being sent.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import mmap
import os
import random
import shlex
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection

from runs.clock import db_now, ticks
from runs.models import Worker
from tools.canonical import new_id

logger = logging.getLogger(__name__)

SILENT_AFTER = timedelta(seconds=15)
UNHEARD = 10.0  # seconds without a heartbeat after which a worker begins nothing more


@dataclass(frozen=True)
class Absence:
    """A worker that can write no more: why we know, and whether its process is gone for certain."""

    reason: str
    proven: bool


class ThisWorker:
    """This process as a worker: registered when first asked for, alive while its lock is held."""

    def __init__(self, queues: str, pool: str) -> None:
        self.id = new_id("wrk")
        self.pid = os.getpid()
        # The last heartbeat, in ticks; being registered is the first. None where nobody beats.
        self.heard_at = ticks() if _beating else None
        self._draining = False
        self._lock = _lock_for(self.id)
        self._lock.hold()
        self.holds = True  # its lock, as far as it knows
        now = db_now()
        Worker.objects.create(
            id=self.id,
            host=socket.gethostname(),
            pid=self.pid,
            process_started=_started(self.pid),
            queues=queues,
            pool=pool,
            started_at=now,
            beat_at=now,
        )

    def beat(self) -> None:
        """Say that this process lives; takes its lock again if the connection was lost."""
        began = ticks()
        try:
            self._lock.hold()
        except Exception:
            self.holds = False
            raise
        self.holds = True
        values = {"beat_at": db_now()}
        if leaving() and not self._draining:
            values["draining_at"] = values["beat_at"]
        Worker.objects.filter(pk=self.id).update(**values)
        self._draining = "draining_at" in values or self._draining
        self.heard_at = began

    def leave(self) -> None:
        """An orderly end."""
        Worker.objects.filter(pk=self.id).update(stopped_at=db_now())
        self._lock.release()


# One byte that a process shares with the children it forks: its word that all of them are to end.
_leaving = mmap.mmap(-1, 1)


def leave_soon() -> None:
    """This process and its children begin nothing more: running turns give their runs back."""
    _leaving[0] = 1


def leaving() -> bool:
    """Whether this process was asked to end."""
    return _leaving[0] == 1


def may_begin() -> bool:
    """Whether this worker is heard: one whose heartbeat is not taken may be thought gone, and begins nothing
    that changes the world.
    """
    here = _here
    if here is None or here.pid != os.getpid() or here.heard_at is None:
        return True
    return ticks() - here.heard_at < UNHEARD


def may_take() -> bool:
    """Whether this worker holds its lock: what it takes without, the others take from it at once."""
    here = _here
    return here is None or here.pid != os.getpid() or (here.holds and may_begin())


_here: ThisWorker | None = None
_beating = False
_making = threading.Lock()
_described = ("", "threads")


def describe(queues: str, pool: str) -> None:
    """What this process listens to, for its row."""
    global _described
    _described = (queues, pool)


def expect_beats() -> None:
    """From now on this process beats, and begins nothing that changes the world unless it is heard."""
    global _beating
    _beating = True
    here = _here
    if here is not None and here.pid == os.getpid() and here.heard_at is None:
        here.heard_at = ticks()


def pool() -> str:
    """The kind of pool of this process: threads or prefork."""
    return _described[1]


def this_worker() -> ThisWorker:
    """This process as a worker; a forked child is another worker than its parent."""
    global _here
    with _making:
        if _here is None or _here.pid != os.getpid():
            _here = ThisWorker(*_described)
        return _here


class Pulse(threading.Thread):
    """Heartbeats and rounds of the caretakers, beside the turns of this process."""

    def __init__(
        self, sweep: Callable[[], Any], every: float, look: Callable[[], None] = lambda: None
    ) -> None:
        """`sweep` is a round of the caretakers; `look` needs no database and is never left out."""
        super().__init__(name="pulse", daemon=True)
        self._sweep = sweep
        self._look = look
        self._every = every
        self._ending = threading.Event()

    def run(self) -> None:
        """Beat and sweep until stopped; the database may go and come back meanwhile."""
        while not self._ending.wait(self._every * random.uniform(0.7, 1.3)):  # noqa: S311 - spreads the load
            try:
                self._look()
                this_worker().beat()
                self._sweep()
            except Exception:
                logger.exception("no heartbeat")
            finally:
                connection.close()

    def end(self) -> None:
        """Stop, and say so in the worker's row."""
        self._ending.set()
        self.join(timeout=5)
        this_worker().leave()
        connection.close()


def anyone_listens_to(queue: str) -> bool:
    """Whether a live worker takes messages from `queue`."""
    alive = Worker.objects.filter(stopped_at=None, draining_at=None, beat_at__gt=db_now() - SILENT_AFTER)
    return any(queue in worker.queues.split(",") for worker in alive)


def last_listened(queue: str) -> datetime | None:
    """When a worker of `queue` was last heard; None when there never was one."""
    those = (
        worker for worker in Worker.objects.order_by("-beat_at")[:1000] if queue in worker.queues.split(",")
    )
    last = next(those, None)
    return last.beat_at if last else None


def how_to_start(queue: str) -> str:
    """The command that starts a worker of `queue`, for whoever can paste it."""
    return f"python3 manage.py worker {shlex.quote(queue)}"


class Presence:
    """One caretaker's round of looking who is there and who is gone; asks once for each."""

    def __init__(self) -> None:
        self._known: dict[str, Absence | None] = {}
        self._listened_to: dict[str, bool] = {}

    def of(self, worker_id: str) -> Absence | None:
        """Why we know that this worker is gone; None when it lives or nobody can tell."""
        if worker_id not in self._known:
            self._known[worker_id] = _absence(worker_id)
        return self._known[worker_id]

    def listens_to(self, queue: str) -> bool:
        """Whether a live worker takes messages from `queue`."""
        if queue not in self._listened_to:
            self._listened_to[queue] = anyone_listens_to(queue)
        return self._listened_to[queue]


def _absence(worker_id: str) -> Absence | None:
    row = Worker.objects.filter(pk=worker_id).first()
    if row is None or (_here is not None and worker_id == _here.id):
        return None
    here = row.host == socket.gethostname()
    if here and _started(row.pid) != row.process_started:
        return Absence(f"the worker process {row.pid} on {row.host} is gone", proven=True)
    if row.stopped_at is not None:
        return Absence("its worker was stopped", proven=True)
    if _lock_for(worker_id).is_free():
        return Absence(f"its worker on {row.host} lost its connection", proven=False)
    return None


def _started(pid: int) -> str:
    """When the process with this pid started, in the words of this system; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "there"
    return "there" if not Path("/proc/self/stat").exists() else ""


# Locks


class AdvisoryLock:
    """A session advisory lock on a connection of its own, outside the pool."""

    def __init__(self, worker_id: str) -> None:
        self._name = f"holdpoint {worker_id}"  # of its session, where people look at sessions
        self._key = int.from_bytes(hashlib.sha256(worker_id.encode()).digest()[:8], "big", signed=True)
        self._connection: psycopg.Connection[Any] | None = None

    def hold(self) -> None:
        """Take the lock, or see that it is still ours. Raises psycopg.OperationalError."""
        if self._connection is not None and not self._connection.closed:
            try:
                self._connection.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                self._connection.close()
        asked = {**_plain_parameters(), "application_name": self._name}
        fresh = psycopg.connect(**asked, autocommit=True)
        try:
            fresh.execute(_END_STALE, (self._name,))
            fresh.execute("SELECT pg_advisory_lock(%s)", (self._key,))
        except BaseException:
            fresh.close()
            raise
        self._connection = fresh

    def release(self) -> None:
        """Let go."""
        if self._connection is not None:
            self._connection.close()

    def is_free(self) -> bool:
        """Whether nobody holds it."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (self._key,))
            return bool(cursor.fetchone()[0])


# Where the network failed, the server may keep the lost session, and its lock, for hours.
_END_STALE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = %s AND datname = current_database() AND pid <> pg_backend_pid()"""
# A heartbeat must notice within seconds that nobody answers.
_IMPATIENT = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def _plain_parameters() -> dict[str, Any]:
    """Those of Django's own connections, TLS and time limits included, without what only Django knows."""
    all_of_them = connection.get_connection_params()
    libpq = {name: all_of_them[name] for name in all_of_them.keys() - {"context", "cursor_factory"}}
    return {**_IMPATIENT, **libpq}


class FileLock:
    """A lock on a file in the data folder: gone with the process, whatever ended it."""

    def __init__(self, worker_id: str) -> None:
        self._path = Path(settings.HOLDPOINT_DATA) / "workers" / f"{worker_id}.lock"
        self._file: int | None = None

    def hold(self) -> None:
        """Take the lock, if it is not ours yet."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Let go, and leave nothing behind."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)

    def is_free(self) -> bool:
        """Whether nobody holds it."""
        try:
            probe = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(probe)


def _lock_for(worker_id: str) -> AdvisoryLock | FileLock:
    return AdvisoryLock(worker_id) if connection.vendor == "postgresql" else FileLock(worker_id)
