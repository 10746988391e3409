"""Starting runs."""

from __future__ import annotations

from typing import Any

from runs import messages, workflow
from runs.actors import acting_as, plain_name
from runs.checkpoint import own_transaction
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Run
from runs.services.record import chain
from runs.services.waking import HINT_LOST_AFTER
from tools.canonical import digest, new_id


def start_run(
    name: str,
    value: Any,
    *,
    actor: str,
    intent: str = "",
    source: str = "",
    version: int | None = None,
) -> Run:
    """Start a run of the workflow `name` with the JSON input `value`, asked for by `actor`.

    Raises UnknownWorkflow and InvalidInput; nothing is written then.
    """
    definition = workflow.get(name, version)
    recorded = definition.check_input(value)
    with own_transaction(), acting_as(actor):
        now = db_now()
        run = Run(
            id=new_id("run"),
            workflow=definition.name,
            version=definition.version,
            intent=intent,
            requester=actor,
            source=source,
            queue=definition.queue,
            input=recorded,
            created_at=now,
            wake_at=now + HINT_LOST_AFTER,
        )
        said = f"{plain_name(actor)} asked for {definition.name}" + (f": {intent}" if intent else "")
        content = {"workflow": name, "version": definition.version, "input": digest(recorded)}
        chain(run, [Entry("run.started", said, content)], actor, now)
        run.save(force_insert=True)
        messages.hint(run.id, run.queue)
    return run
