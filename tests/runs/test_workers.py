"""Who is gone, and what is proof of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.db import connection

from runs.clock import ticks
from runs.crew import workers
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

    def test_where_nobody_beats_nobody_listens_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        workers.this_worker()
        later = ticks() + workers.UNHEARD
        monkeypatch.setattr(workers, "ticks", lambda: later)
        assert workers.may_begin()
