"""The moments of a crontab, in its time zone: pure, with the change of the clocks thought of.

A local time that comes twice, when the clocks go back, counts once, unless the crontab means every hour. One
that does not come, when they go forward, is an hour later that day. Day of the month and day of the week must
both fit, as django-celery-beat has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from celery.schedules import crontab
from django_celery_beat.models import CrontabSchedule

FARTHEST = timedelta(days=366 * 41)  # a Monday that is a 29 February is never farther away
_EVERY_HOUR = 24


def next_moment(row: CrontabSchedule, after: datetime) -> datetime | None:
    """The first moment of `row` after `after`, in UTC; None when there is none, such as on 31 February."""
    for moments in _days(row, after, timedelta(days=1)):
        later = [moment for moment in moments if moment > after]
        if later:
            return min(later)
    return None


def latest_moment(row: CrontabSchedule, until: datetime) -> datetime | None:
    """The last moment of `row` that is not after `until`, in UTC; None when there is none."""
    for moments in _days(row, until, timedelta(days=-1)):
        passed = [moment for moment in moments if moment <= until]
        if passed:
            return max(passed)
    return None


def _days(row: CrontabSchedule, start: datetime, step: timedelta) -> Iterator[list[datetime]]:
    """The moments of each day that fits, from the day of `start` on, in the direction of `step`."""
    zone = ZoneInfo(str(row.timezone))
    try:
        parts = crontab(
            minute=row.minute,
            hour=row.hour,
            day_of_week=row.day_of_week,
            day_of_month=row.day_of_month,
            month_of_year=row.month_of_year,
        )
    except ValueError:
        return  # Celery knows the days that never come
    # A day earlier: what does not come on one day because of the clocks may come on the next.
    day = start.astimezone(zone).date() - step
    for _ in range(FARTHEST.days):
        if _fits(parts, day):
            yield _moments(parts, day, zone)
        day += step


def _fits(parts: crontab, day: date) -> bool:
    week = day.isoweekday() % 7 in parts.day_of_week
    return week and day.month in parts.month_of_year and day.day in parts.day_of_month


def _moments(parts: crontab, day: date, zone: ZoneInfo) -> list[datetime]:
    folds = (0, 1) if len(parts.hour) == _EVERY_HOUR else (0,)
    return [
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold).astimezone(UTC)
        for hour in parts.hour
        for minute in parts.minute
        for fold in folds
    ]
