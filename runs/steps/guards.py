"""What may keep a call from being begun, whoever makes it: asked in one order, right before it begins."""

from __future__ import annotations

from runs.steps.proposal import Proposal
from runs.turns.turn import Turn


def before(turn: Turn, proposal: Proposal) -> None:
    """Whether the proposed call, or another attempt of it, may be begun now; nothing of it is pending yet.

    Comes back when it may. Raises a Stop (``turn.stop(Suspend(…))``) when it must wait, and the step stays as
    it is; or, where the step is not on record yet, a ToolError, with which it is recorded as failed. A replay
    without effects is never kept.
    """
    if turn.replays:
        return
