"""Starting many runs at once: checked one by one, written together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runs import journal
from runs.actors import acting_as
from runs.checkpoint import HISTORY_STAMP, RUN_HISTORY, RUN_HISTORY_TABLE, history_values, own_transaction
from runs.clock import db_now
from runs.journal import Head
from runs.messages import USUAL
from runs.models import JournalEntry, Run
from runs.services.activation import choose_version
from runs.services.start import draft_run, first_entry, refuse_if_full
from runs.workflow import InvalidInput, Workflow

BATCH = 200  # rows of one statement


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
        entries: list[JournalEntry] = []
        for run in runs:
            sealed, head = journal.seal(run.id, Head(0, b""), [first_entry(run, actor)], actor=actor, at=now)
            run.head_seq, run.head_hash = head.seq, head.hash
            entries += [row.as_row() for row in sealed]
        columns = (*RUN_HISTORY, *HISTORY_STAMP)
        kept = [history_values(run, RUN_HISTORY, kind="+", actor=actor, at=now, reason=None) for run in runs]
        Run.objects.bulk_create(runs, batch_size=BATCH)
        RUN_HISTORY_TABLE._default_manager.bulk_create(
            [RUN_HISTORY_TABLE(**dict(zip(columns, row, strict=True))) for row in kept], batch_size=BATCH
        )
        JournalEntry.objects.bulk_create(entries, batch_size=BATCH)
    return runs


def _checked(definition: Workflow, number: int, value: Any) -> Any:
    try:
        return definition.check_input(value)
    except InvalidInput as error:
        raise InvalidInput(definition.name, [f"input {number}: {each}" for each in error.problems]) from None
