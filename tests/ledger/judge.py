"""The judge: what the ledger's own file says, whatever the database holds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.launch.processes import PROJECT
from tests.ledger.client import LINE


class Ledger:
    """The file of a ledger that runs in a process of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def lines(self, event: str, **wanted: str) -> list[dict[str, Any]]:
        """What the ledger saw of that kind, in order: asked, done, looked, killed."""
        lines = [json.loads(line) for line in self.place.read_text().splitlines()]
        return [line for line in lines if line["event"] == event and wanted.items() <= line.items()]

    def done(self, key: str) -> bool:
        """Whether it was done: what a person sees who looks."""
        return bool(self.lines("done", key=key))


@contextmanager
def running(place: Path) -> Iterator[Ledger]:
    """A ledger with its file at `place`; tools of this process and its children reach it."""
    command = [sys.executable, "-m", "tests.ledger.server", str(place)]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        LINE.port = int(server.stdout.readline())
        try:
            yield Ledger(place)
        finally:
            server.stdin.close()
            server.wait(10)
