"""Before a run ends: nothing of it stays open, and what nobody knows the end of is said to be unknown."""

from __future__ import annotations

from functools import partial

from runs.errands import sending as errands
from runs.journal import Entry
from runs.models import CLEAN_UP, Step
from runs.services.closing import CHANGES_THE_WORLD, with_unknown
from runs.states import STEP_ENDED, StepState
from runs.turns.doubt import leave_unknown
from runs.turns.turn import Turn


def others_may_end(turn: Turn, *, with_cleanup: bool = False) -> bool:
    """Whether somebody else may end an open step at this moment, a person who is asked or a child run: then
    it is closed with the run locked, as it stands then.
    """
    return any(step.state == StepState.HELD or step.ends_elsewhere for step in _open(turn, with_cleanup))


def close_what_is_open(turn: Turn, *, with_cleanup: bool = False) -> None:
    """Cancel the steps that nobody will finish.

    Steps of the clean-up itself stay open unless `with_cleanup`. A call that may have changed the world,
    because it was begun or because an earlier attempt is in doubt, is not cancelled: it is left as unknown,
    for the lookup or a person to settle.
    """
    for step in _open(turn, with_cleanup):
        close(turn, step)


def _open(turn: Turn, with_cleanup: bool) -> list[Step]:
    return [
        step
        for step in turn.steps.values()
        if step.state not in STEP_ENDED
        and step.state != StepState.UNKNOWN
        and (with_cleanup or not step.path.startswith(CLEAN_UP))
    ]


def close(turn: Turn, step: Step) -> bool:
    """Give up one open step; True when a person was being asked about it."""
    held: bool = step.state == StepState.HELD
    if step.is_open_question:
        turn.note("question.withdrawn", "The question needs no answer any more", step)
    if step.state == StepState.STARTED and turn.errand_of(step) is not None:
        turn.alongside(partial(errands.give_up, turn, step))
    elif step.in_doubt or (step.state == StepState.STARTED and step.effect in CHANGES_THE_WORLD):
        turn.pending.entries.append(leave_unknown(turn, step))
    else:
        step.cancel()
        step.finished_at = turn.clock.now()
        if step.is_child:
            step.due_at = turn.clock.now()  # the child is still to be cancelled
        turn.changed(step)
    return held


def note_end(turn: Turn, kind: str, sentence: str) -> None:
    """Say in the journal how the run ends, and of how many calls nobody knows whether they happened.

    After `close_what_is_open`. Where there are such calls, it is said with the run locked: somebody may
    settle one meanwhile.
    """
    if turn.pending.alongside or _unknown(turn):
        turn.alongside(partial(_tell_end, turn, kind, sentence))
    else:
        turn.note(kind, sentence)


def _tell_end(turn: Turn, kind: str, sentence: str) -> list[Entry]:
    known = {step.id for step in _unknown(turn)} - set(turn.pending.steps)
    for settled in Step.objects.filter(pk__in=known).exclude(state=StepState.UNKNOWN):
        turn.steps[settled.path] = settled
        if not settled.ended:
            close(turn, settled)
    unknown = len(_unknown(turn))
    content = {"unknown": unknown} if unknown else {}
    return [Entry(kind, with_unknown(sentence, unknown), content)]


def _unknown(turn: Turn) -> list[Step]:
    return [step for step in turn.steps.values() if step.state == StepState.UNKNOWN]
