"""A tool that answers otherwise than its contract: counted together with the failure of the call."""

from __future__ import annotations

from runs.turns.checkpoint import Write
from runs.turns.turn import Turn
from tools.contract import InvalidOutput, Tool
from tools.failures import Failure
from tools.misfits import COLUMNS, Misfit
from tools.models import ToolCall


def note_misfit(turn: Turn, tool: Tool, call: ToolCall, failure: Failure) -> None:
    """Have it counted with the next commit if `call` gave a result that the contract does not allow."""
    if failure.code != InvalidOutput.code:
        return
    row = (call.id, turn.run.id, tool.name, tool.version, tool.contract_digest, turn.now(), failure.message)
    turn.also(Write(Misfit, COLUMNS, inserts=[row], once=True))
