"""The caretakers: they find what has no message, from beat and from every worker, and are safe to run
twice.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from django.db.models import Q, QuerySet

from runs import anchors, messages, retention, services
from runs.actors import CARETAKER, acting_as
from runs.clock import db_now, ticks
from runs.crew import workers
from runs.models import Errand, ErrandState, Run
from runs.states import RunState
from tools import limits
from tools.timers import probe_in_doubt

logger = logging.getLogger(__name__)

T = TypeVar("T")
BATCH = 200
FIRST_ROUND = 1.0  # seconds; the rounds that follow go on from there
RETIRE_EVERY = 60.0  # seconds
FILL_EVERY = 300.0  # seconds
IN_LINE = timedelta(minutes=5)  # how long a queued run may stand in line in a full queue without another hint
ANCHOR_EVERY = 600.0  # seconds
PROBE_EVERY = 5.0  # seconds
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


def each(ids: Iterable[T], care: Callable[[T], bool]) -> int:
    """Call `care` for every id, until a batch was cared for.

    One that fails is logged, and the next is cared for all the same: rows that fail again and again keep
    nobody behind them waiting.
    """
    cared = 0
    for row_id in ids:
        try:
            cared += care(row_id)
        except Exception:
            logger.exception("a row was left for the next round", extra={"row": row_id})
        if cared >= BATCH:
            break
    return cared


def wake_due_runs() -> int:
    """Waiting runs, and clean-ups, whose time has come; a clean-up whose hint was lost is one of them."""
    return each(chain(_due(RunState.WAITING), _due(RunState.CANCELLING)), services.wake_due)


def hint_again() -> int:
    """Queued runs whose hint was lost, or never sent.

    Where many hints wait, those that are due most likely just stand in line: only old ones get another.
    """
    due = Run.objects.filter(state=RunState.QUEUED, wake_at__lte=db_now())
    queues = set(due.order_by("wake_at").values_list("queue", flat=True)[:BATCH])
    busy = [queue for queue in queues if messages.waiting_in(queue) >= BATCH]
    in_line = Q(queue__in=busy, alone=False, wake_at__gt=db_now() - IN_LINE) & ~Q(placed=False)
    return each(by_moment(due.exclude(in_line) if busy else due, "wake_at"), services.requeue)


def _due(state: RunState) -> Iterator[str]:
    return by_moment(Run.objects.filter(state=state, wake_at__lte=db_now()), "wake_at")


def by_moment(rows: QuerySet[Any], moment: str) -> Iterator[Any]:
    """The ids of all `rows`, those whose `moment` is the oldest first, read in batches by that place."""
    after = Q()
    while True:
        batch = list(rows.filter(after).order_by(moment, "pk").values_list(moment, "pk")[:BATCH])
        yield from (row_id for _, row_id in batch)
        if len(batch) < BATCH:
            return
        at, last = batch[-1]
        after = Q(**{f"{moment}__gte": at}) & (Q(**{f"{moment}__gt": at}) | Q(pk__gt=last))


def rescue_lost_runs(within: float = math.inf) -> int:
    """Runs in a worker's hands whose worker is gone, or whose lease is over; `within` seconds, then the next
    round goes on.
    """
    now, cared = db_now(), 0
    crew, ends, somebody_gone = workers.Presence(), ticks() + within, False
    leased = Run.objects.filter(state__in=services.LEASED).exclude(lease_owner="")
    for run_id, epoch, owner, until in in_batches(leased, "lease_epoch", "lease_owner", "lease_until"):
        absence = crew.of(owner)
        if absence is None and (until is None or until > now):
            continue
        cared += _rescue(run_id, epoch, absence, crew.listens_to(services.SUSPECTS))
        somebody_gone = somebody_gone or absence is not None
        if ticks() > ends:
            break
    if somebody_gone:
        # They had fetched hints that they had not come to.
        services.tell_again(now, BATCH)
    return cared


def take_over() -> None:
    """What a worker does before its first message: it takes up the runs of those that are gone.

    Each of these statements would wait for its turn beside many busy threads; here there are none yet.
    """
    with acting_as(CARETAKER):
        rescue_lost_runs(FIRST_ROUND)


def in_batches(rows: QuerySet[Any], *columns: str) -> Iterator[tuple[Any, ...]]:
    """The id and `columns` of all `rows`, read in batches by id: memory and statements stay small."""
    last = ""
    while batch := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", *columns)[:BATCH]):
        yield from batch
        last = batch[-1][0]


def hint_errands_again() -> int:
    """Errands whose hint was lost, or came before there was a worker; not where nobody listens."""
    waiting = Errand.objects.filter(state=ErrandState.WAITING, wake_at__lte=db_now())
    queues = waiting.order_by().values_list("queue", flat=True).distinct()
    heard = [queue for queue in queues if workers.anyone_listens_to(queue)]
    if not heard:
        return 0
    return each(by_moment(waiting.filter(queue__in=heard), "wake_at"), services.hint_errand_again)


def find_lost_errands() -> int:
    """Errands whose worker is gone, or out of time: their runs look."""
    now, gone = db_now(), workers.Presence()
    taken = in_batches(Errand.objects.filter(state=ErrandState.TAKEN), "lease_owner", "lease_until")
    lost = [
        call_id
        for call_id, owner, until in taken
        if (until is not None and until <= now) or gone.of(owner) is not None
    ]
    return each(lost, services.wake_for_lost)


def _rescue(run_id: str, epoch: int, absence: workers.Absence | None, alone: bool) -> int:
    try:
        return services.rescue_run(
            run_id,
            epoch,
            reason=absence.reason if absence else "its lease ran out",
            died=True,
            proven=absence.proven if absence else False,
            alone=alone,
            only_if_over=absence is None,
        )
    except Exception:
        logger.exception("a run was left for the next round", extra={"row": run_id})
        return 0


def hand_on_places() -> int:
    """Places that ended runs still have, because whoever ended them died right then."""
    return _give(services.places_to_hand_on(BATCH))


def fill_places() -> int:
    """Places that nobody was told of: a deploy brought them."""
    return _give(services.places_to_fill())


def _give(places: list[tuple[str, str]]) -> int:
    return each(places, lambda place: services.give_places(*place) > 0)


def point_out_late_runs() -> int:
    """Runs that take longer than usual, or have passed their deadline."""
    found = (by_moment(rows, moment) for moment, rows in services.overdue(db_now()).items())
    return each(chain.from_iterable(found), services.point_out)


def start_scheduled_runs() -> int:
    """Schedules whose moment has come."""
    return each(services.due_schedules(BATCH), services.start_scheduled)


def _retire(due: Callable[[datetime], QuerySet[Run]], verb: Callable[[str], bool]) -> int:
    """Runs that ended long ago, a batch in each round."""
    return each(by_moment(due(db_now()), "finished_at"), verb)


def tell_parents() -> int:
    """Runs that have ended, and whose parent was not told."""
    return each(services.untold(BATCH), services.tell_parent)


def cancel_given_up() -> int:
    """Children that nobody waits for any more."""
    return each(services.given_up(BATCH), services.cancel_given_up)


def let_released_go() -> int:
    """Runs that waited for a switch which is released."""
    return each(services.released_waits(BATCH), lambda waited: services.let_go(*waited))


def make_anchor() -> int:
    """The heads of the journals that moved, for somebody outside."""
    return 1 if anchors.make_anchor() else 0


register("runs.rescue", rescue_lost_runs)
register("runs.errands", find_lost_errands)
register("runs.hint_errands", hint_errands_again)
register("runs.wake", wake_due_runs)
register("runs.hint", hint_again)
register("runs.tell", tell_parents)
register("runs.given_up", cancel_given_up)
register("runs.places", hand_on_places)
register("runs.fill", fill_places, every=FILL_EVERY)
register("runs.late", point_out_late_runs)
register("runs.schedules", start_scheduled_runs)
register("runs.archive", partial(_retire, retention.archive_due, services.archive_run), every=RETIRE_EVERY)
register("runs.purge", partial(_retire, retention.contents_due, services.purge_contents), every=RETIRE_EVERY)
register(
    "runs.purge_artifacts",
    partial(_retire, retention.artifacts_due, services.purge_artifacts),
    every=RETIRE_EVERY,
)
register("tools.release", let_released_go)
register("tools.probe", probe_in_doubt, every=PROBE_EVERY)
register("tools.line", limits.call_up)
register("runs.anchor", make_anchor, every=ANCHOR_EVERY)
register("runs.kept_answers", services.forget_answers, every=RETIRE_EVERY)
