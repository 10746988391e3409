"""The workflows of the benchmarks."""

from __future__ import annotations

from pydantic import BaseModel

from benchmarks.workload.tools import bench_signed_step, bench_step
from runs.context import Run
from runs.workflow import workflow


class Walk(BaseModel):
    """So many steps, each of which waits so long."""

    name: str
    steps: int = 10
    milliseconds: int = 0


class Named(BaseModel):
    """The name under which the steps leave their marks."""

    name: str


class Pause(BaseModel):
    """How long to wait."""

    seconds: float


@workflow("bench.walk", owner="Benchmarks", unit="one walk")
def walk(run: Run, plan: Walk) -> int:
    """One step after the other."""
    for step in range(1, plan.steps + 1):
        run.tool(bench_step, plan.name, step, plan.milliseconds)
    return plan.steps


@workflow("bench.sign", owner="Benchmarks", unit="one signature")
def sign(run: Run, plan: Named) -> int:
    """A step, a person's decision, and the step that was decided about."""
    run.tool(bench_step, plan.name, 1)
    return int(run.tool(bench_signed_step, plan.name, 2))


@workflow("bench.pause", owner="Benchmarks", unit="one pause")
def pause(run: Run, plan: Pause) -> None:
    """Wait for the clock, and end."""
    run.sleep(plan.seconds)
