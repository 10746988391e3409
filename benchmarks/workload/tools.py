"""The tools of the benchmarks."""

from __future__ import annotations

import time

from benchmarks.workload.marks import mark
from tools.contract import IdempotencyKey
from tools.registry import tool


@tool(effect="read", name="bench_step")
def bench_step(name: str, step: int, milliseconds: int = 0) -> int:
    """Leave a mark, then take as long as asked."""
    mark(name, step)
    if milliseconds:
        time.sleep(milliseconds / 1000)
    return step


@tool(effect="write", risk="medium", name="bench_signed_step", rollback="There is nothing to undo.")
def bench_signed_step(name: str, step: int, *, key: IdempotencyKey) -> int:
    """Leave a mark, once a person has agreed: the gate asks one for a write of medium risk."""
    mark(name, step)
    return step
