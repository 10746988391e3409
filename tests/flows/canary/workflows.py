"""A workflow that hears all of it."""

from __future__ import annotations

from pydantic import BaseModel

from runs.agents.port import ToolFailed
from runs.context import Run
from runs.workflow import workflow
from tests.flows.canary import tools


class Song(BaseModel):
    """What stands beside each secret, and where the other system is."""

    marker: str
    base: str


@workflow("canary.sing", owner="Tests", unit="one song")
def sing(run: Run, song: Song) -> None:
    """Have every tool give its secret away; keep what was heard as an artifact."""
    heard = [run.tool(tools.give, song.marker), run.tool(tools.elsewhere, song.marker)]
    heard.append(run.tool(tools.call, song.marker, song.base))
    try:
        run.tool(tools.refuse, song.marker)
    except ToolFailed as failed:
        heard.append(str(failed))
    run.artifact("heard", {"heard": heard})
    run.tool(tools.doubt, song.marker)
