"""Lengths of time and moments in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runs.pages import spans

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.012, "12 ms"),
        (0.42, "0.4 s"),
        (3, "3 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_length(seconds: float, words: str) -> None:
    assert spans.length(seconds) == words


@pytest.mark.parametrize(
    ("away", "words"),
    [
        (timedelta(0), "just now"),
        (timedelta(minutes=24, seconds=40), "in 24 min"),
        (timedelta(minutes=-36), "36 min ago"),
        (timedelta(seconds=-8), "8 s ago"),
        (timedelta(hours=26), "in 1 d 2 h"),
    ],
)
def test_relative(away: timedelta, words: str) -> None:
    assert spans.relative(NOW + away, NOW) == words


def test_left() -> None:
    assert spans.left(1500) == "25 min left"
    assert spans.left(0) == spans.left(-5) == "time is over"
