"""Who is gone, and what is proof of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from runs.clock import ticks
from runs.crew import workers
from runs.crew.workers import AdvisoryLock
from runs.models import Worker

pytestmark = pytest.mark.django_db(transaction=True)

HOLD = """
import os, sys
sys.path.insert(0, os.getcwd())
import django
django.setup()
from runs.crew import workers
print(workers.this_worker().id, flush=True)
sys.stdin.read()
"""


def other_worker(env: dict[str, str]) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


class TestPresence:
    def test_a_living_worker_is_there(self, process_env: dict[str, str]) -> None:
        process, worker_id = other_worker(process_env)
        try:
            assert workers.Presence().of(worker_id) is None
        finally:
            process.kill()
            process.communicate()

    def test_a_killed_process_is_gone_for_certain(self, process_env: dict[str, str]) -> None:
        process, worker_id = other_worker(process_env)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        absence = workers.Presence().of(worker_id)
        assert absence is not None
        assert absence.proven

    @pytest.mark.postgres
    def test_a_lost_connection_is_no_proof(self, process_env: dict[str, str]) -> None:
        process, worker_id = other_worker(process_env)
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
                )
            assert workers._lock_for(worker_id).is_free()
            absence = workers.Presence().of(worker_id)
            assert absence is not None
            assert not absence.proven
        finally:
            process.kill()
            process.communicate()

    def test_another_process_with_the_same_pid_is_not_the_worker(self, process_env: dict[str, str]) -> None:
        process, worker_id = other_worker(process_env)
        try:
            Worker.objects.filter(pk=worker_id).update(process_started="1")
            absence = workers.Presence().of(worker_id)
            assert absence is not None and absence.proven
        finally:
            process.kill()
            process.communicate()


@pytest.mark.postgres
class TestAdvisoryLock:
    """The lock of a worker whose connection was lost, and who takes it again."""

    @pytest.fixture
    def locks(self) -> Iterator[tuple[AdvisoryLock, AdvisoryLock]]:
        """Two sessions of the same worker: the one that was lost, and the next."""
        both = AdvisoryLock("wrk_x"), AdvisoryLock("wrk_x")
        yield both
        for lock in both:
            lock.release()

    def test_a_session_that_the_server_still_has_is_ended(
        self, locks: tuple[AdvisoryLock, AdvisoryLock]
    ) -> None:
        lost, fresh = locks
        lost.hold()
        other = AdvisoryLock("wrk_y")
        other.hold()
        try:
            fresh.hold()
            assert not fresh.is_free() and not other.is_free()
            with pytest.raises(psycopg.OperationalError):
                lost._connection.execute("SELECT 1")  # type: ignore[union-attr]
            other._connection.execute("SELECT 1")  # type: ignore[union-attr]
        finally:
            other.release()

    def test_one_that_could_not_be_taken_is_not_taken_for_held(
        self, locks: tuple[AdvisoryLock, AdvisoryLock], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lost, fresh = locks
        lost.hold()
        monkeypatch.setattr(workers, "_END_STALE", "SELECT %s::text")
        quick = {**workers._plain_parameters(), "options": "-c lock_timeout=50ms"}
        monkeypatch.setattr(workers, "_plain_parameters", lambda: quick)
        for _ in range(2):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                fresh.hold()
        lost.release()
        fresh.hold()
        assert not fresh.is_free()

    def test_it_connects_as_safely_as_all_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = {"sslmode": "verify-full", "sslrootcert": "/etc/ca.pem", "connect_timeout": 5}
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", {**asked, "pool": {"min_size": 0}})
        plain = workers._plain_parameters()
        assert asked.items() <= plain.items()
        assert not {"pool", "context", "cursor_factory"} & plain.keys()


class TestHeard:
    """Until its first heartbeat a worker has been heard once: when it registered."""

    @pytest.fixture(autouse=True)
    def nobody_yet(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(workers, "_here", None)
        monkeypatch.setattr(workers, "_beating", False)
        yield
        workers.this_worker().leave()

    @pytest.mark.parametrize("registered", ["before", "after"])
    def test_one_that_was_never_heard_again_begins_nothing(
        self, registered: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if registered == "before":
            workers.this_worker()
        workers.expect_beats()
        workers.this_worker()
        assert workers.may_begin()
        later = ticks() + workers.UNHEARD
        monkeypatch.setattr(workers, "ticks", lambda: later)
        assert not workers.may_begin()
        workers.this_worker().beat()
        assert workers.may_begin()

    def test_one_that_cannot_take_its_lock_again_takes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        me = workers.this_worker()
        with monkeypatch.context() as cut:
            cut.setattr(me._lock, "hold", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                me.beat()
        assert workers.may_begin() and not workers.may_take()
        me.beat()
        assert workers.may_take()

    def test_where_nobody_beats_nobody_listens_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        workers.this_worker()
        later = ticks() + workers.UNHEARD
        monkeypatch.setattr(workers, "ticks", lambda: later)
        assert workers.may_begin()
