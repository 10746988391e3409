"""How long what a run held is kept, and who else must let go of it when its time is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from runs import workflow
from runs.models import Run

#: What upper apps keep of a run, by name: called in the transaction that purges it, with the run locked.
_others: dict[str, Callable[[str], int]] = {}


def also(name: str, purge: Callable[[str], int]) -> None:
    """Have `purge` called with the id of every run whose contents are purged; it returns how many rows it
    emptied.
    """
    _others[name] = purge


def purge_others(run_id: str) -> dict[str, int]:
    """Empty what upper apps keep of the run: how many rows each of them had."""
    return {name: purge(run_id) for name, purge in _others.items()}


def contents_due(now: datetime) -> QuerySet[Run]:
    """Ended runs whose contents have been kept as long as their workflow wants."""
    ended = Run.objects.filter(purged_at=None, finished_at__isnull=False)
    return ended.filter(_older(now, lambda kept: kept.contents_days, settings.HOLDPOINT_KEEP_DAYS))


def artifacts_due(now: datetime) -> QuerySet[Run]:
    """Ended runs whose artifacts have been kept as long as their workflow wants."""
    ended = Run.objects.filter(artifacts_purged_at=None, finished_at__isnull=False)
    return ended.filter(_older(now, lambda kept: kept.artifacts_days, settings.HOLDPOINT_KEEP_ARTIFACTS_DAYS))


def archive_due(now: datetime) -> QuerySet[Run]:
    """Ended runs that no longer belong in the working lists."""
    days: int = settings.HOLDPOINT_ARCHIVE_DAYS
    ended = Run.objects.filter(archived_at=None)
    return ended.filter(finished_at__lt=now - timedelta(days=days)) if days else ended.none()


def _older(now: datetime, days_of: Callable[[workflow.Keep], int | None], usual: int) -> Q:
    """Ended before their workflow's own limit, or before the usual one where it has none; 0 is for ever."""
    own: dict[str, int] = {}
    for definition in workflow.all_workflows():
        days = days_of(definition.keep)
        if days is not None:
            own[definition.name] = days
    fits = Q(pk__in=[])
    for name, days in own.items():
        if days:
            fits |= Q(workflow=name, finished_at__lt=now - timedelta(days=days))
    if usual:
        fits |= Q(finished_at__lt=now - timedelta(days=usual)) & ~Q(workflow__in=list(own))
    return fits
