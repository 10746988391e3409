"""The moments of a crontab, through the nights in which the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django_celery_beat.models import CrontabSchedule

from runs.crontab import latest_moment, next_moment

BERLIN = "Europe/Berlin"  # forward on 28 March 2027 at 2:00, back on 31 October 2027 at 3:00


def crontab(text: str, zone: str = "UTC") -> CrontabSchedule:
    names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    return CrontabSchedule(**dict(zip(names, text.split(), strict=True)), timezone=ZoneInfo(zone))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def several(row: CrontabSchedule, after: datetime, count: int) -> list[str]:
    found = []
    for _ in range(count):
        moment = next_moment(row, after)
        assert moment is not None
        assert latest_moment(row, moment) == moment
        assert latest_moment(row, moment + timedelta(seconds=1)) == moment
        after = moment
        found.append(f"{moment:%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("0 8 * * *", "2027-01-01 08:00", "2027-01-02 08:00"),
        ("0 8 * * *", "2027-01-01 07:59:59", "2027-01-01 08:00"),
        ("*/15 * * * *", "2027-01-01 07:46", "2027-01-01 08:00"),
        ("0 9 * * 1-5", "2027-01-01 10:00", "2027-01-04 09:00"),
        ("0 0 1 1 *", "2027-01-01 00:00", "2028-01-01 00:00"),
        ("0 0 29 2 *", "2027-01-01 00:00", "2028-02-29 00:00"),
        ("0 0 13 * 5", "2027-01-01 00:00", "2027-08-13 00:00"),
        ("30 9 * * 0", "2027-01-01 00:00", "2027-01-03 09:30"),
    ],
)
def test_it_works(text: str, after: str, expected: str) -> None:
    assert next_moment(crontab(text), utc(after)) == utc(expected)
    assert latest_moment(crontab(text), utc(expected)) == utc(expected)


def test_a_zone_moves_with_its_clocks() -> None:
    row = crontab("0 8 * * *", BERLIN)
    assert several(row, utc("2027-03-26 12:00"), 3) == ["27 07:00", "28 06:00", "29 06:00"]
    assert several(row, utc("2027-10-29 12:00"), 3) == ["30 06:00", "31 07:00", "01 07:00"]


def test_a_time_that_does_not_come_is_an_hour_later() -> None:
    row = crontab("30 2 * * *", BERLIN)
    assert several(row, utc("2027-03-26 12:00"), 3) == ["27 01:30", "28 01:30", "29 00:30"]
    local = datetime(2027, 3, 28, 1, 30, tzinfo=UTC).astimezone(ZoneInfo(BERLIN))
    assert (local.hour, local.minute) == (3, 30)


def test_a_time_that_comes_twice_counts_once() -> None:
    row = crontab("30 2 * * *", BERLIN)
    assert several(row, utc("2027-10-29 12:00"), 3) == ["30 00:30", "31 00:30", "01 01:30"]


def test_every_hour_means_every_hour_also_that_night() -> None:
    row = crontab("0 * * * *", BERLIN)
    assert several(row, utc("2027-10-30 23:00"), 4) == ["31 00:00", "31 01:00", "31 02:00", "31 03:00"]
    assert several(row, utc("2027-03-27 23:00"), 4) == ["28 00:00", "28 01:00", "28 02:00", "28 03:00"]
    row = crontab("*/20 * * * *", "America/New_York")
    for start in ("2027-03-14 00:00", "2027-11-07 00:00"):
        moments = several(row, utc(start), 60)
        assert len(set(moments)) == 60
        assert moments[-1] == f"{utc(start) + timedelta(hours=20):%d %H:%M}"


def test_what_never_comes_is_nothing() -> None:
    assert next_moment(crontab("0 0 31 2 *"), utc("2027-01-01 00:00")) is None
    assert latest_moment(crontab("0 0 31 2 *"), utc("2027-01-01 00:00")) is None
