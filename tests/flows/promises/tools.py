"""Tools that touch the file that stands for the world."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.flows.promises import world
from tools.contract import IdempotencyKey
from tools.registry import tool


def _await_file(place: str) -> None:
    """Until the test makes the file `place` (no path: not at all)."""
    while place and not Path(place).exists():
        time.sleep(0.02)


@tool(effect="read", timeout=20)
def look(name: str, gate: str = "") -> str:
    """Look at something; with `gate`, no sooner than that file is there."""
    world.happen(f"look {name}")
    _await_file(gate)
    return name


@tool(effect="write", risk="low", timeout=2, rollback="Write it again")
def put(name: str, gate: str = "", *, key: IdempotencyKey) -> str:
    """Put something down; the other side knows the key."""
    if not world.happened(f"put {name}", key):
        world.happen(f"put {name}", key)
    _await_file(gate)
    return name


@tool(effect="irreversible", risk="high", timeout=2, rollback="None")
def launch(name: str, gate: str = "", *, key: IdempotencyKey) -> str:
    """Launch something; nobody can ask afterwards whether it flew."""
    world.happen(f"launch {name}", key)
    _await_file(gate)
    return name


@tool(effect="write", risk="low", timeout=2, rollback="None")
def poison(*, key: IdempotencyKey) -> str:
    """End the process that calls it."""
    world.happen("poison", key)
    os.kill(os.getpid(), 9)
    return ""
