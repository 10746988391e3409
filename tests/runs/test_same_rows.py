"""One run with every kind of step leaves the same rows on PostgreSQL and on SQLite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.launch.processes import PROJECT
from tests.record import everything
from tests.runs import measured


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_both_databases_hold_the_same_rows(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'other.sqlite3'}",
    }
    command = [sys.executable, "-m", "tests.runs.measured", "rows"]
    with subprocess.Popen(command, cwd=PROJECT, env=env, stdout=-1, stderr=-1, text=True) as child:
        measured.declare()
        measured.play()
        measured.play_letters()
        here = measured.dump(everything())
        said, complaint = child.communicate(timeout=120)
    assert child.returncode == 0, complaint
    there = json.loads(said)

    assert set(here) == set(there)
    for table in here:
        assert len(here[table]) == len(there[table]), table
        for number, (one, other) in enumerate(zip(here[table], there[table], strict=True)):
            for column in one:
                assert one[column] == other[column], f"{table} row {number}: {column}"
    filled = {table for table, rows in here.items() if rows}
    assert filled >= {
        "runs_run",
        "runs_historicalrun",
        "runs_step",
        "runs_historicalstep",
        "runs_journalentry",
        "runs_message",
        "runs_artifact",
        "runs_blob",
        "tools_toolcall",
        "approvals_approval",
        "approvals_historicalapproval",
        "approvals_decision",
    }
