"""Going on as a fresh run: the history of a loop stays bounded."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

from runs import workflow
from runs.journal import Entry
from runs.models import Run
from runs.services.start import new_run
from runs.stops import Restarting
from runs.turns.turn import Turn
from runs.workflow import Workflow
from tools.canonical import digest

ID_LENGTH = 26


def restart(turn: Turn, value: Any) -> NoReturn:
    """End the turn and have the engine go on as a fresh run. Raises InvalidInput for a value that does not
    fit, and Diverged when the record holds steps that the code did not ask for.
    """
    turn.go_on_only_if_running()
    definition = workflow.get(turn.run.workflow, turn.run.version)
    recorded = definition.check_input(value)
    turn.check_all_visited()
    raise turn.stop(Restarting(recorded))


def continue_as(turn: Turn, recorded: Any) -> dict[str, Any]:
    """Have the next commit, which ends the run, start the fresh one too; the columns that it changes."""
    definition = workflow.get(turn.run.workflow, turn.run.version)
    # The same however often the end is tried.
    fresh = f"run_{digest([turn.run.id, 'restart', turn.run.generation])[:ID_LENGTH]}"
    turn.alongside(partial(_start, turn, fresh, definition, recorded))
    return {"output": {"continued_as": fresh}, "continued_by": fresh, "to_tell": ""}


def _start(turn: Turn, fresh: str, definition: Workflow, recorded: Any) -> list[Entry]:
    old = turn.run
    # The business key passes on: no moment at which nobody holds it, and none at which two do.
    Run.objects.filter(pk=old.id).update(once=None)
    new_run(
        definition,
        recorded,
        id=fresh,
        actor=turn.actor,
        said=f"Goes on from {old.id}",
        content={"continued_from": old.id},
        requester=old.requester,
        source=old.source,
        intent=old.intent,
        queue=old.queue,
        key=old.key,
        once=old.once,
        priority=old.priority,
        deadline=old.deadline,
        limit_key=old.limit_key,
        placed=old.placed,
        parent_id=old.parent_id,
        parent_step=old.parent_step,
        to_tell=Run.objects.values_list("to_tell", flat=True).get(pk=old.id),
        continued_from=old.id,
    )
    return []
