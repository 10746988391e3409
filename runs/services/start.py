"""Starting runs: which version, whether there is one for that key already, when, and in whose name."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from typing import Any, Literal

from django.conf import settings
from django.db import IntegrityError

from runs.actors import acting_as, plain_name
from runs.clock import db_now
from runs.code import digest_of
from runs.journal import Entry
from runs.messages import HIGHEST, USUAL
from runs.models import Run
from runs.services.activation import choose_version
from runs.services.new_rows import insert_runs
from runs.services.places import is_limited, limit_key_of, line_up
from runs.services.record import NotPossible
from runs.states import RunState, look_of
from runs.turns.checkpoint import own_transaction
from runs.workflow import InvalidInput, Workflow
from tools.canonical import digest, new_id, normalise

OnDuplicate = Literal["return", "refuse", "start"]
ON_DUPLICATE: tuple[str, ...] = ("return", "refuse", "start")


class InvalidStart(InvalidInput):
    """The input fits, but a run cannot be started like that; the message says what to write instead."""

    def __init__(self, workflow: str, problems: list[str]) -> None:
        super().__init__(workflow, problems)
        self.args = (f"{workflow} cannot be started like that: " + "; ".join(problems),)


class DuplicateKey(NotPossible):
    """There is a run for this key already; `run_id` is its id."""

    def __init__(self, run: Run) -> None:
        word = look_of(run.state).word.lower()
        super().__init__(
            f"{run.workflow} was started for key {run.key} already: {run.id}, {word}. "
            f"Look at it with python3 manage.py runs show {run.id}.",
            code="duplicate",
        )
        self.run_id = run.id


class QueueFull(Exception):  # noqa: N818 - read as a sentence where it is caught
    """So many runs wait in the queue that no more are taken; nothing was written."""

    def __init__(self, queue: str, limit: int) -> None:
        super().__init__(
            f"{limit} runs or more wait in queue {queue}, and HOLDPOINT_QUEUE_LIMIT is {limit}: try again "
            "later, start more workers on that queue, or raise the limit."
        )
        self.queue, self.limit = queue, limit


def start_run(
    name: str,
    value: Any,
    *,
    actor: str,
    intent: str = "",
    source: str = "",
    version: int | None = None,
    key: str = "",
    on_duplicate: OnDuplicate = "return",
    priority: int = USUAL,
    start_at: datetime | None = None,
    deadline: datetime | None = None,
) -> Run:
    """Start a run of the workflow `name` with the JSON input `value`, asked for by `actor`.

    With a business `key`, `on_duplicate` says what happens when the workflow has a run with that key,
    whatever became of it: ``return`` that run (its `found` is then true), ``refuse`` with DuplicateKey, or
    ``start`` another. Of runs that are ready, those with the highest `priority` (0 to 9) are taken first. It
    starts no earlier than `start_at`, and is pointed out when it has not ended by `deadline` (both aware).

    Raises UnknownWorkflow, NotActive, InvalidInput (InvalidStart for the other arguments), DuplicateKey and
    QueueFull; nothing is written then.
    """
    definition = choose_version(name, version)
    recorded = definition.check_input(value)
    key = str(normalise(key)).strip()
    now = db_now()
    _check(definition, key, on_duplicate, priority, start_at, deadline, now)
    with own_transaction(), acting_as(actor):
        there = _run_of(name, key)
        if there is not None and on_duplicate != "start":
            return _found(there, on_duplicate)
        if start_at is None or start_at <= now:
            refuse_if_full(definition.queue)
        wanted: dict[str, Any] = {
            "key": key,
            "priority": priority,
            "start_at": start_at,
            "deadline": deadline,
        }
        once = once_of(name, key) if key and there is None else None
        try:
            # Only what holds a key may be there already: the rest needs no place to come back to.
            with own_transaction() if once else nullcontext():
                run = new_run(
                    definition,
                    recorded,
                    actor=actor,
                    intent=intent,
                    source=source,
                    at=now,
                    once=once,
                    **wanted,
                )
        except IntegrityError:
            there = _run_of(name, key)
            if there is None:
                raise
            if on_duplicate != "start":
                return _found(there, on_duplicate)
            run = new_run(definition, recorded, actor=actor, intent=intent, source=source, **wanted)
    if run.placed is False:
        run.refresh_from_db()  # it may have got its place right after the commit
    return run


def new_run(
    definition: Workflow,
    recorded: Any,
    *,
    actor: str,
    said: str = "",
    content: dict[str, Any] | None = None,
    at: datetime | None = None,
    **columns: Any,
) -> Run:
    """Write the row, the history and the first journal entry of a new run in the caller's transaction, and
    let it go on after the commit as soon as it may.

    `recorded` is what `definition.check_input` gave back, `actor` who has it started. `said` and `content`
    are the sentence and the details of the first entry, where the usual ones do not do; `at` is the moment,
    now unless given; `columns` are further columns of the row, such as `intent` or `forked_from`.

    The limits on runs of the workflow hold; nothing else is checked here, neither the version nor the queue.
    """
    now = at or db_now()
    run = draft_run(definition, recorded, now, actor=actor, **columns)
    insert_runs([(run, first_entry(run, actor, said, content))], actor=actor, at=now)
    return run


def draft_run(definition: Workflow, recorded: Any, now: datetime, *, actor: str, **columns: Any) -> Run:
    """The row of a new run, not saved yet, which goes on after the commit as soon as it may."""
    columns.setdefault("requester", actor)
    columns.setdefault("queue", definition.queue)
    run = Run(
        id=columns.pop("id", "") or new_id("run"),
        workflow=definition.name,
        version=definition.version,
        code=digest_of(definition),
        input=recorded,
        created_at=now,
        **columns,
    )
    starts = max(run.start_at, now) if run.start_at else now
    run.expected_until = starts + definition.expected if definition.expected else None
    if run.placed is None and (is_limited(definition) or starts > now):
        run.limit_key, run.placed = limit_key_of(definition, recorded), False
    line_up(run, now)
    return run


def first_entry(run: Run, actor: str, said: str = "", content: dict[str, Any] | None = None) -> Entry:
    """What the journal of a new run begins with."""
    asked = f"{plain_name(actor)} asked for {run.workflow}" + (f": {run.intent}" if run.intent else "")
    plain = {"workflow": run.workflow, "version": run.version, "input": digest(run.input)}
    wished = {"key": run.key, "start_at": _written(run.start_at), "deadline": _written(run.deadline)}
    usual = {"priority": run.priority} if run.priority != USUAL else {}
    return Entry(
        "run.started", said or asked, plain | {k: v for k, v in wished.items() if v} | usual | (content or {})
    )


def _written(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


# Keys


def once_of(name: str, key: str) -> str:
    """What the first run of a business key holds, so that there is no second by accident."""
    return digest({"workflow": name, "key": key})


def _run_of(name: str, key: str) -> Run | None:
    return Run.objects.filter(once=once_of(name, key)).first() if key else None


def _found(run: Run, on_duplicate: OnDuplicate) -> Run:
    if on_duplicate == "refuse":
        raise DuplicateKey(run)
    run.found = True
    return run


# Refusals


def _check(
    definition: Workflow,
    key: str,
    on_duplicate: str,
    priority: int,
    start_at: datetime | None,
    deadline: datetime | None,
    now: datetime,
) -> None:
    """Raises InvalidStart."""
    problems = []
    if len(key) > 200:
        problems.append(f"key: it has {len(key)} characters; shorten it to 200")
    if on_duplicate not in ON_DUPLICATE:
        problems.append(f"on_duplicate: write one of {', '.join(ON_DUPLICATE)}")
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= HIGHEST:
        problems.append(f"priority: write a whole number from 0 to {HIGHEST}")
    for name, moment in (("start_at", start_at), ("deadline", deadline)):
        if moment is not None and moment.tzinfo is None:
            problems.append(f"{name}: write it with its time zone")
    if not problems and deadline is not None and deadline <= max(now, start_at or now):
        problems.append("deadline: it must lie in the future, and after the start")
    if problems:
        raise InvalidStart(definition.name, problems)


def refuse_if_full(queue: str) -> None:
    """Raises QueueFull when HOLDPOINT_QUEUE_LIMIT runs wait in `queue`. Two at once may both pass."""
    limit = settings.HOLDPOINT_QUEUE_LIMIT
    waiting = Run.objects.filter(state=RunState.QUEUED, queue=queue)
    # No full count: the row after which there are too many is there, or it is not.
    if limit and waiting.order_by().values("queue")[limit - 1 : limit].exists():
        raise QueueFull(queue, limit)
