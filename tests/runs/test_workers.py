"""Who is gone, and what is proof of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from django.db import connection

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
