"""What a measure says, and the small things that all of them need."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.workload.marks import PLACE

PATIENCE = 300.0  # seconds until a measure is given up


@dataclass(frozen=True)
class Measured:
    """One figure: the median, its unit, and the lowest and highest of all that were taken."""

    measure: str
    value: float
    unit: str
    spread: tuple[float, float]

    def as_json(self) -> str:
        """One line for machines."""
        return json.dumps(asdict(self))


class TooSlow(Exception):
    """What was waited for did not come."""


def measured(measure: str, unit: str, taken: Sequence[float]) -> Measured:
    """The figure that these make together."""
    low, high = min(taken), max(taken)
    return Measured(measure, _short(statistics.median(taken)), unit, (_short(low), _short(high)))


def _short(value: float) -> float:
    return round(value, 3 if abs(value) < 100 else 1)


def say(text: str) -> None:
    """Progress, for people."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def wait_until(done: Callable[[], bool], what: str, every: float = 0.01) -> None:
    """Return once `done` is true, telling every two seconds that it is not. Raises TooSlow."""
    began = told = time.monotonic()
    while not done():
        now = time.monotonic()
        if now - began > PATIENCE:
            raise TooSlow(f"{what}: not within {PATIENCE:.0f} s")
        if now - told > 2:
            told = now
            say(f"  {what}: {now - began:.0f} s …")
        time.sleep(every)


# What the bodies of the steps left


def marks() -> list[tuple[str, str, int]]:
    """Name, step and moment (ns) of every body that ran, in order."""
    try:
        lines = Path(os.environ[PLACE]).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []
    return [(name, step, int(moment)) for name, step, moment, _pid in (line.split() for line in lines)]


def forget_marks() -> None:
    """Empty the file; processes that hold it open write on."""
    Path(os.environ[PLACE]).write_text("", encoding="ascii")
