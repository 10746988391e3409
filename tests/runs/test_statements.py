"""What a step costs, by PostgreSQL's own count: one statement and one commit, written ahead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping

import pytest

from ops.launch.postgres import PostgresCluster
from ops.launch.processes import PROJECT

pytestmark = [pytest.mark.postgres, pytest.mark.processes]
Counts = Mapping[str, int]


class CountingCluster(PostgresCluster):
    """A server that counts every statement, BEGIN and COMMIT too."""

    def _command(self, connections: int) -> list[str]:
        counting = ["-c", "shared_preload_libraries=pg_stat_statements", "-c", "pg_stat_statements.track=all"]
        return [*super()._command(connections), *counting]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """What was counted for turns of several sizes, by statement."""
    data = tmp_path_factory.mktemp("data")
    with CountingCluster() as cluster:
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": cluster.create_database("counted"),
            "HOLDPOINT_DATA": str(data),
            # As in a worker: a pool, from which each turn takes its connection.
            "HOLDPOINT_DATABASE_POOL": "1",
        }
        command = [sys.executable, "-m", "tests.runs.measured", "statements"]
        done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ten_more(counted: Mapping[str, Counts], kind: str) -> Counter[str]:
    """What ten steps more of that kind cost, by what the statement is for."""
    few, more = (by_purpose(counted[f"{size} {kind}"]) for size in ("few", "more"))
    return Counter(
        {purpose: more[purpose] - few[purpose] for purpose in more | few if more[purpose] - few[purpose]}
    )


def by_purpose(counts: Counts) -> Counter[str]:
    found: Counter[str] = Counter()
    for query, calls in counts.items():
        found[purpose(query)] += calls
    return found


def purpose(query: str) -> str:
    """A word for a statement; the statement itself when it is none of those expected."""
    known = {
        "WITH fence AS": "checkpoint",
        "WITH claimed AS": "claim",
        "approvals_policy": "policies",
        "FROM tools_orders": "orders",
    }
    return next((word for part, word in known.items() if part in query), query)


def test_a_read_step_is_one_statement(counted: Mapping[str, Counts]) -> None:
    cost = ten_more(counted, "reads")
    # Rules about reads, and orders to stop, are read once a second, however many steps there are.
    assert cost.pop("policies", 0) < 10
    assert cost.pop("orders", 0) < 10
    assert cost == {"checkpoint": 10}


def test_a_write_step_is_two_statements_and_what_the_policies_are_read_with(
    counted: Mapping[str, Counts],
) -> None:
    cost = ten_more(counted, "writes")
    assert cost.pop("orders", 0) < 10
    assert cost == {"checkpoint": 20, "policies": 10}


def test_a_turn_is_claimed_and_ended_by_a_statement_each(counted: Mapping[str, Counts]) -> None:
    assert by_purpose(counted["nothing"]) == {"claim": 1, "checkpoint": 1}
