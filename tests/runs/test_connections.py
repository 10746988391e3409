"""Turns that wait hold no connection: many of them share a few."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ops.launch.processes import PROJECT
from runs.crew import pace

CONNECTIONS = 8


@pytest.mark.postgres
@pytest.mark.processes
def test_more_turns_than_connections_are_in_their_bodies_at_once(process_env: dict[str, str]) -> None:
    env = {
        **process_env,
        "HOLDPOINT_DATABASE_POOL": "1",
        "HOLDPOINT_DATABASE_POOL_SIZE": str(CONNECTIONS),
    }
    command = [sys.executable, "-m", "tests.runs.crowd"]
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["size"] == CONNECTIONS
    assert told["made"] <= CONNECTIONS + 4, "none was made anew for each body"
    assert sorted(told["states"]) == [["crowd.branches", "succeeded"]] + [["crowd.turns", "succeeded"]] * 32


class TestPace:
    """Giving a connection back costs something: only a long wait is worth it."""

    @pytest.fixture(autouse=True)
    def nothing_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pace, "_usual", {})

    def test_what_nobody_has_seen_may_be_long(self) -> None:
        assert pace.is_slow("new")

    def test_it_is_learnt(self) -> None:
        pace.took("quick", 0.001)
        assert not pace.is_slow("quick")
        for _ in range(30):
            pace.took("quick", 0.2)
        assert pace.is_slow("quick")
        pace.took("long", 1.0)
        assert pace.is_slow("long")
