"""`manage.py bench`: what it prints, never how fast. Figures are no matter of passing or failing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import MEASURES
from config.management.commands import bench
from ops.launch.processes import PROJECT


def run(*arguments: str, tmp: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HOLDPOINT_DATA": str(tmp)}
    command = [sys.executable, "manage.py", "bench", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.processes
@pytest.mark.sqlite
def test_it_works(tmp_path: Path) -> None:
    done = run("latency", "resume", "--quick", "--db", "sqlite", "--json", tmp=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [figure["measure"] for figure in figures] == ["latency", "resume", "resume, nine of ten within"]
    for figure in figures:
        assert set(figure) == {"measure", "value", "unit", "spread"}
        low, high = figure["spread"]
        assert 0 < low <= figure["value"] <= high and figure["unit"] == "ms"
    assert "done after" in done.stderr


@pytest.mark.processes
@pytest.mark.postgres
def test_statements_are_counted_on_postgresql(tmp_path: Path) -> None:
    done = run("statements", "--quick", "--json", tmp=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = {line["measure"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert figures["statements"]["unit"] == "a step"
    assert 1 <= figures["statements"]["value"] < 4


def test_a_measure_that_is_not_there_is_an_error_of_usage(tmp_path: Path) -> None:
    done = run("speed", tmp=tmp_path)
    assert done.returncode == 2
    assert "There is no measure 'speed'; there are steps, latency" in done.stderr


def test_the_command_names_every_measure() -> None:
    assert tuple(MEASURES) == bench.MEASURES
