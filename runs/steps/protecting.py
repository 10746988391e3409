"""What a tool's breaker and limit mean for a step: it waits, or the workflow hears that the tool is away."""

from __future__ import annotations

from datetime import timedelta

from django.db import Error, connection

from runs import gate
from runs.steps.proposal import Proposal, as_proposed, key_of
from runs.stops import Suspend, Unreachable
from runs.turns.turn import Turn
from tools import breakers, guarded
from tools.failures import Failure, ToolUnavailable, classify


def look(turn: Turn, proposal: Proposal) -> None:
    """Before anything is asked about a call that is new: raises ToolUnavailable while its tool is away."""
    if proposal.path not in turn.steps:
        breakers.must_be_available(proposal.tool, key_of(turn, proposal))


def begin(turn: Turn, proposal: Proposal) -> None:
    """Right before the call is begun, outside of any transaction.

    Raises Suspend when it must wait: for its turn, or, where it is on record already, until its tool is
    there again. A new call of a tool that is away raises ToolUnavailable.
    """
    if turn.replays or not guarded.is_guarded(proposal.tool):
        return
    try:
        wait = guarded.begin(proposal.tool, key_of(turn, proposal), turn.run.id)
    except ToolUnavailable as error:
        if proposal.path not in turn.steps:
            raise
        until = turn.clock.now() + timedelta(seconds=max(1.0, error.retry_after or 0.0))
        raise turn.stop(Suspend(str(error), until=until)) from error
    except Error as error:
        connection.close_if_unusable_or_obsolete()
        raise turn.stop(Unreachable(f"{turn.run.id}: {error}")) from error
    if wait is not None:
        raise turn.stop(Suspend(wait.why, until=wait.until))


def begin_decided(turn: Turn, proposal: Proposal, step_id: str) -> None:
    """As `begin`, for a held call, once people have said yes to it: before, it needs no turn."""
    if turn.replays or not guarded.is_guarded(proposal.tool):
        return
    if isinstance(gate.installed().review(as_proposed(turn, proposal, step_id)), gate.Go):
        begin(turn, proposal)


def not_begun(turn: Turn, proposal: Proposal) -> None:
    """The call was let through, and is not begun after all."""
    if guarded.is_guarded(proposal.tool):
        guarded.not_begun(proposal.tool, key_of(turn, proposal))


def away(turn: Turn, proposal: Proposal) -> Failure | None:
    """How the tool is away by now, so that another attempt would only wait for it; None when it is not."""
    try:
        breakers.must_be_available(proposal.tool, key_of(turn, proposal))
    except ToolUnavailable as error:
        return classify(error)
    return None
