"""The stage of a play: a database, a broker and a folder of its own; nothing of the user is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ops.launch.broker import Broker, NoBroker
from ops.launch.postgres import NoPostgres, PostgresCluster
from ops.launch.processes import PROJECT, NotReady

SHOP_LATENCY = "0.15"
EFFECTS = "effects.jsonl"
INTERRUPTED = 130  # as shells say it


class NoStage(Exception):
    """The stage could not be set; the message names the cause and the cure."""


def run_on_stage(arguments: Sequence[str], *, database: str, slow_shop: bool) -> int:
    """Run ``manage.py support_desk`` with `arguments` and ``--stage FOLDER`` on a stage; its exit code.

    The folder is kept for its logs when not all went well. Raises NoStage.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="hp-play-"))
    except OSError as error:
        raise NoStage(f"No place for temporary files: {error.strerror}. Set TMPDIR to one.") from None
    code = INTERRUPTED
    try:
        code = _run(folder, arguments, database=database, slow_shop=slow_shop)
    except (NoBroker, NoPostgres, NotReady, OSError) as error:
        raise NoStage(str(error)) from None
    finally:
        if code in (0, INTERRUPTED):
            shutil.rmtree(folder, ignore_errors=True)
    return code


def _run(folder: Path, arguments: Sequence[str], *, database: str, slow_shop: bool) -> int:
    env = _environment(folder, slow_shop=slow_shop)
    with ExitStack() as stack:
        env["REDIS_URL"] = stack.enter_context(Broker(folder)).url
        if database == "postgres":
            env["DATABASE_URL"] = stack.enter_context(PostgresCluster()).create_database("holdpoint")
        command = [sys.executable, str(PROJECT / "manage.py"), "support_desk", *arguments]
        return subprocess.run([*command, "--stage", str(folder)], env=env, cwd=PROJECT).returncode


def _environment(folder: Path, *, slow_shop: bool) -> dict[str, str]:
    left_out = ("DATABASE_URL", "REDIS_URL", "HOLDPOINT_JOURNAL_KEYS", "SECRET_KEY")
    env = {name: value for name, value in os.environ.items() if name not in left_out}
    env |= {
        "HOLDPOINT_DATA": str(folder),
        "HOLDPOINT_MODEL": "scripted",
        "HOLDPOINT_EFFECTS_FILE": str(folder / EFFECTS),
        "PYTHONUNBUFFERED": "1",
    }
    return env | ({"HOLDPOINT_SHOP_LATENCY": SHOP_LATENCY} if slow_shop else {})
