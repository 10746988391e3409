"""The tools of the storyteller: waiting, plans and commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ops.launch.processes import PROJECT, wait_until
from tests.flows.promises.workflows import Act


class Until:
    """``until(condition, seconds)``: goes on as soon as the condition holds, or fails the test."""

    def __call__(self, condition: Callable[[], Any], seconds: float = 30, why: str = "") -> None:
        held = wait_until(lambda: bool(condition()), seconds, pause=0.03)
        assert held, why or f"it did not come true within {seconds} s"


def act(do: str, name: str = "", **more: Any) -> Act:
    """One act of a plan."""
    return Act(do=do, name=name, **more)  # type: ignore[arg-type]


def manage(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` with these arguments, in a process of its own."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=dict(env), capture_output=True, text=True, timeout=60)
