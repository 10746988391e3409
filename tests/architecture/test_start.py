"""What a worker loads before its first message."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Each takes a good part of a second to load, or brings what does, and no worker needs it before a run does.
NOT_IN_A_WORKER = (
    "approvals.views",
    "celery.bin.celery",
    "click_repl",
    "config.urls",
    "django.test",
    "drf_spectacular.plumbing",
    "genai_prices",
    "httpx",
    "ops.views",
    "prompt_toolkit",
    "pydantic_ai",
    "requests",
    "rest_framework.views",
    "runs.admin",
    "runs.api",
    "runs.pages",
    "runs.views",
    "unfold.admin",
)
LOADED = """
import sys
from config.worker import loaded_app
app = loaded_app()
assert "runs.tasks.advance" in app.tasks
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Which of these a worker without users' apps has loaded when it takes its first message."""
    env = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    env |= {"DJANGO_SETTINGS_MODULE": "config.settings", "HOLDPOINT_APPS": "benchmarks.workload"}
    env["HOLDPOINT_DATA"] = str(tmp_path_factory.mktemp("data"))
    told = subprocess.run(
        [sys.executable, "-c", LOADED, "runs.engine", *NOT_IN_A_WORKER],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout.split()


def test_a_worker_loads_the_engine_and_nothing_slow_that_it_does_not_need(loaded: list[str]) -> None:
    assert loaded == ["runs.engine"]
