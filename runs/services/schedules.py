"""Runs that start by the clock: each moment once, whoever looks and however often."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.db.models import Q
from django.db.models.signals import post_save
from django_celery_beat.models import CrontabSchedule

from runs import crontab
from runs.actors import plain_name, username_of
from runs.clock import db_now
from runs.models import Run, Schedule
from runs.services.record import NotPossible
from runs.services.start import QueueFull, start_run
from runs.turns.checkpoint import own_transaction
from runs.workflow import InvalidInput, UnknownWorkflow

logger = logging.getLogger(__name__)

MAY_START = "runs.start_run"
SOURCE = "schedule"


class _LeftOut(Exception):  # noqa: N818
    """The moment starts nothing, for the reason that the message says."""


def due_schedules(limit: int) -> list[int]:
    """The schedules whose next moment has come, and those that do not know it yet."""
    due = Schedule.objects.filter(Q(next_at=None) | Q(next_at__lte=db_now()), enabled=True)
    return list(due.order_by("next_at").values_list("pk", flat=True)[:limit])


def start_scheduled(schedule_id: int) -> bool:
    """Start the run of the schedule's latest moment, if it is due; whether a run was started.

    Of several moments that were missed only the latest is started. Why one started nothing is kept as the
    schedule's `problem`.
    """
    with own_transaction():
        schedule = Schedule.objects.select_for_update().filter(pk=schedule_id, enabled=True).first()
        now = db_now()
        if schedule is None or (schedule.next_at is not None and schedule.next_at > now):
            return False
        moment = _latest(schedule, schedule.next_at, now) if schedule.next_at is not None else None
        if moment is None:
            return _move(schedule, next_at=_next(schedule, now), problem=_never(schedule, now))
        try:
            run = _start(schedule, moment)
        except UnknownWorkflow as error:
            # Another process may know it, and find the moment still due.
            return _move(schedule, problem=str(error))
        except _LeftOut as reason:
            return _move(schedule, next_at=_next(schedule, now), last_at=moment, problem=str(reason))
        _move(schedule, next_at=_next(schedule, now), last_at=moment, last_run=run.id, problem="")
    return not run.found


def forget_next_moments(sender: Any, instance: CrontabSchedule, **saved: Any) -> None:
    """A crontab was changed: a caretaker finds the next moments of its schedules anew."""
    Schedule.objects.filter(crontab=instance).update(next_at=None)


post_save.connect(forget_next_moments, CrontabSchedule, dispatch_uid="runs.schedules.forget")


def _start(schedule: Schedule, moment: datetime) -> Run:
    """Raises _LeftOut, and UnknownWorkflow."""
    _must_be_allowed(schedule)
    _must_be_alone(schedule, moment)
    try:
        with own_transaction():
            return start_run(
                schedule.workflow,
                schedule.input,
                actor=schedule.owner,
                intent=schedule.intent,
                source=SOURCE,
                key=f"schedule:{schedule.name}:{moment.isoformat()}",
            )
    except (DatabaseError, UnknownWorkflow):
        raise
    except (InvalidInput, NotPossible, QueueFull) as error:
        raise _LeftOut(f"{_at(moment)} started nothing. {error}") from error
    except Exception as error:
        logger.exception("a schedule started nothing", extra={"schedule": schedule.name})
        raise _LeftOut(f"{_at(moment)} started nothing: {type(error).__name__}: {error}") from error


def _must_be_allowed(schedule: Schedule) -> None:
    user = get_user_model().objects.filter(username=username_of(schedule.owner), is_active=True).first()
    if user is None or not user.has_perm(MAY_START):
        raise _LeftOut(
            f"{plain_name(schedule.owner)} may not start runs, and these start in that name; whoever saves "
            "the schedule takes it over."
        )


def _must_be_alone(schedule: Schedule, moment: datetime) -> None:
    if not schedule.skip_while_running or not schedule.last_run:
        return
    last = Run.objects.filter(pk=schedule.last_run).first()
    if last is not None and not last.ended:
        raise _LeftOut(f"{_at(moment)} was left out: its last run, {last.id}, is {last.state}.")


def _latest(schedule: Schedule, due: datetime, now: datetime) -> datetime | None:
    """The latest moment from `due` to `now`; None when its clock was changed and there is none."""
    if schedule.crontab is None:
        every = timedelta(seconds=schedule.every_seconds or 1)
        return due + ((now - due) // every) * every
    latest = crontab.latest_moment(schedule.crontab, now)
    return latest if latest is not None and latest >= due else None


def _next(schedule: Schedule, now: datetime) -> datetime | None:
    if schedule.crontab is not None:
        return crontab.next_moment(schedule.crontab, now)
    every = timedelta(seconds=schedule.every_seconds or 1)
    last = schedule.next_at or schedule.last_at or now
    return last + ((now - last) // every + 1) * every


def _never(schedule: Schedule, now: datetime) -> str:
    return "" if _next(schedule, now) else "There is no such day: it never comes."


def _move(schedule: Schedule, **values: Any) -> bool:
    # Compared with what was read: a second starter of the same moment would find another one.
    rows = Schedule.objects.filter(pk=schedule.pk, next_at=schedule.next_at)
    if values.get("problem") and values["problem"] != schedule.problem:
        logger.warning("schedule %s: %s", schedule.name, values["problem"])
    rows.update(**values)
    return False


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
