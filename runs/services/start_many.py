"""Starting many runs at once: checked one by one, written together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runs.actors import acting_as
from runs.clock import db_now
from runs.messages import USUAL
from runs.models import Run
from runs.services.activation import choose_version
from runs.services.new_rows import insert_runs
from runs.services.start import draft_run, first_entry, refuse_if_full
from runs.turns.checkpoint import own_transaction
from runs.workflow import InvalidInput, Workflow


def start_runs(
    name: str,
    values: Sequence[Any],
    *,
    actor: str,
    intent: str = "",
    source: str = "",
    version: int | None = None,
    priority: int = USUAL,
) -> list[Run]:
    """Start a run of the workflow `name` for each JSON input of `values`, in one transaction; in that order.

    Cheaper than as many calls of `start_run`. The limits on runs of the workflow hold.

    Raises UnknownWorkflow, NotActive, QueueFull and InvalidInput, which says which input it is (the first is
    1); nothing is written then.
    """
    definition = choose_version(name, version)
    recorded = [_checked(definition, number, value) for number, value in enumerate(values, start=1)]
    with own_transaction(), acting_as(actor):
        refuse_if_full(definition.queue)
        now = db_now()
        wanted = {"intent": intent, "source": source, "priority": priority}
        runs = [draft_run(definition, value, now, actor=actor, **wanted) for value in recorded]
        insert_runs([(run, first_entry(run, actor)) for run in runs], actor=actor, at=now)
    return runs


def _checked(definition: Workflow, number: int, value: Any) -> Any:
    try:
        return definition.check_input(value)
    except InvalidInput as error:
        raise InvalidInput(definition.name, [f"input {number}: {each}" for each in error.problems]) from None
