"""What may keep a call from being begun, whoever makes it: asked in one order, right before it begins."""

from __future__ import annotations

from runs.steps import protecting
from runs.steps.proposal import Proposal
from runs.turns.pending import Allowed
from runs.turns.turn import Turn
from tools import orders
from tools.orders import Subject


def before(turn: Turn, proposal: Proposal) -> None:
    """Whether the proposed call, or another attempt of it, may be begun now; nothing of it is pending yet.

    Comes back when it may. Raises a Stop (``turn.stop(Suspend(…))``) when it must wait, and the step stays as
    it is; or, where the step is not on record yet, a ToolError, with which it is recorded as failed. A replay
    without effects is never kept.
    """
    if turn.replays:
        return
    tool = proposal.tool
    subject = Subject(tool.name, tool.effect.value, proposal.agent, turn.run.workflow)
    _no_order_stops(turn, proposal.path, subject)
    protecting.look(turn, proposal)


def before_request(turn: Turn, path: str, agent: str) -> None:
    """Whether a model may be asked for `agent`. Raises Suspend (through ``turn.stop``) when it must wait."""
    if not turn.replays:
        _no_order_stops(turn, path, Subject(agent=agent, workflow=turn.run.workflow))


def _no_order_stops(turn: Turn, path: str, subject: Subject) -> None:
    now = orders.in_force()
    stop = now.stop_for(subject)
    if stop is not None:
        raise turn.stop(turn.waits_for_order(path, subject, stop))
    if subject.changes_the_world:
        turn.allowed[path] = Allowed(subject, now.count)
