"""Workflows that the stories run."""

from __future__ import annotations

from pydantic import BaseModel

from runs.context import Run
from runs.gate import SEND_BACK, Rejected
from runs.workflow import workflow
from tests.flows.promises.tools import launch, look, poison, put


class Script(BaseModel):
    """What to do: names of looks and puts, one launch, and the file each waits for."""

    looks: int = 3
    gate: str = ""
    launch: str = ""
    pause: float = 0.0


@workflow("promises.walk", version=1, owner="Tests", unit="one walk")
def walk(run: Run, script: Script) -> list[str]:
    """Look around, put something down, perhaps wait, perhaps launch."""
    seen = [run.tool(look, f"{run.id}-{number}") for number in range(script.looks)]
    seen.append(run.tool(put, run.id, script.gate))
    if script.pause:
        run.sleep(script.pause)
    while script.launch:
        try:
            seen.append(run.tool(launch, run.id, script.launch if script.launch != "now" else ""))
            break
        except Rejected as verdict:
            if verdict.next is not SEND_BACK:
                return [*seen, f"{type(verdict).__name__}: {verdict.reason}"]
            seen.append(f"again: {verdict.reason}")
    return seen


@workflow("promises.poison", version=1)
def poisoned(run: Run, script: Script) -> str:
    """Meet a tool that kills its process."""
    return run.tool(poison)
