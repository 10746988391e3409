"""The caretakers: they find what has no message, from beat and from every worker, and are safe to run
twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from django.db.models import QuerySet

from runs import anchors, retention, services, workers
from runs.actors import CARETAKER, acting_as
from runs.clock import db_now, ticks
from runs.models import Run
from runs.states import RunState

logger = logging.getLogger(__name__)

BATCH = 200
RETIRE_EVERY = 60.0  # seconds
ANCHOR_EVERY = 600.0  # seconds
_caretakers: dict[str, Callable[[], int]] = {}
_resting: dict[str, float] = {}  # duties that need not be done in every round, and their seconds of rest
_next: dict[str, float] = {}


def register(name: str, duty: Callable[[], int], *, every: float = 0.0) -> None:
    """Add a duty to every round, or to one in `every` seconds: it returns how many rows it cared for."""
    _caretakers[name] = duty
    _resting[name] = every


def _due_now(name: str) -> bool:
    now = ticks()
    if now < _next.get(name, 0.0):
        return False
    _next[name] = now + _resting[name]
    return True


def sweep() -> dict[str, int]:
    """One round of all caretakers; the failure of one never stops the round. Counts what each cared for."""
    done: dict[str, int] = {}
    with acting_as(CARETAKER):
        for name, duty in _caretakers.items():
            try:
                done[name] = duty() if _due_now(name) else 0
            except Exception:
                logger.exception("caretaker failed", extra={"caretaker": name})
    return done


def each(ids: Iterable[str], care: Callable[[str], bool]) -> int:
    """Call `care` for every id; one that fails is logged and the next is cared for all the same."""
    cared = 0
    for row_id in ids:
        try:
            cared += care(row_id)
        except Exception:
            logger.exception("a row was left for the next round", extra={"row": row_id})
    return cared


def wake_due_runs() -> int:
    """Waiting runs whose time has come."""
    return each(_due(RunState.WAITING), services.wake_due)


def hint_again() -> int:
    """Queued runs whose hint was lost, or never sent."""
    return each(_due(RunState.QUEUED), services.requeue)


def _due(state: RunState) -> list[str]:
    due = Run.objects.filter(state=state, wake_at__lte=db_now()).order_by("wake_at")
    return list(due.values_list("id", flat=True)[:BATCH])


def rescue_lost_runs() -> int:
    """Running runs whose worker is gone, or whose lease is over."""
    now, cared = db_now(), 0
    gone = workers.Presence()
    running = Run.objects.filter(state=RunState.RUNNING).values_list(
        "id", "lease_epoch", "lease_owner", "lease_until", "queue"
    )
    for run_id, epoch, owner, until, _queue in running.iterator():
        absence = gone.of(owner)
        if absence is None and (until is None or until > now):
            continue
        cared += _rescue(run_id, epoch, absence)
    return cared


def _rescue(run_id: str, epoch: int, absence: workers.Absence | None) -> int:
    try:
        return services.rescue_run(
            run_id,
            epoch,
            reason=absence.reason if absence else "its lease ran out",
            died=True,
            proven=absence.proven if absence else False,
            alone=workers.anyone_listens_to(services.SUSPECTS),
        )
    except Exception:
        logger.exception("a run was left for the next round", extra={"row": run_id})
        return 0


def _retire(due: Callable[[datetime], QuerySet[Run]], verb: Callable[[str], bool]) -> int:
    """Runs that ended long ago, a batch in each round."""
    ids = due(db_now()).order_by("finished_at").values_list("id", flat=True)[:BATCH]
    return each(list(ids), verb)


def make_anchor() -> int:
    """The heads of the journals that moved, for somebody outside."""
    return 1 if anchors.make_anchor() else 0


register("runs.rescue", rescue_lost_runs)
register("runs.wake", wake_due_runs)
register("runs.hint", hint_again)
register("runs.archive", partial(_retire, retention.archive_due, services.archive_run), every=RETIRE_EVERY)
register("runs.purge", partial(_retire, retention.contents_due, services.purge_contents), every=RETIRE_EVERY)
register(
    "runs.purge_artifacts",
    partial(_retire, retention.artifacts_due, services.purge_artifacts),
    every=RETIRE_EVERY,
)
register("runs.anchor", make_anchor, every=ANCHOR_EVERY)
