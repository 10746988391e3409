"""What a tool may declare about its calls: when to leave the other side alone, and how much at once."""

from __future__ import annotations

import math
from dataclasses import dataclass


class OptionError(ValueError):
    """An option that cannot work. The message says which one, and what it may be."""


def _refuse_unless(fits: bool, what: str) -> None:
    if not fits:
        raise OptionError(what)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 < float(value) <= 1  # type: ignore[arg-type]


def _is_seconds(value: object, least: float, most: float) -> bool:
    return _is_number(value) and least <= float(value) <= most  # type: ignore[arg-type]


#: No window, rest or pause is longer, in seconds: a day.
LONGEST = 86_400.0


@dataclass(frozen=True)
class Breaker:
    """When calls of a tool are stopped for a while, because most of them fail or take too long.

    Raises OptionError for what cannot work.
    """

    failures: float = 0.5  #: the share of failed calls that opens it, above 0 and at most 1
    slow: float = 0.8  #: the share of slow calls that opens it; needs `slow_after`
    slow_after: float | None = None  #: from how many seconds on a call is slow; None: none is
    least: int = 10  #: no judgement on fewer calls than this
    over: float = 60.0  #: seconds over which calls are counted
    rest: float = 30.0  #: seconds until one call is let through to see; doubles while that one fails
    most_rest: float = 600.0  #: no rest is longer, in seconds

    def __post_init__(self) -> None:
        for name in ("failures", "slow"):
            share = getattr(self, name)
            _refuse_unless(_is_share(share), f"{name}={share!r} must be a share above 0 and at most 1")
        _refuse_unless(_is_count(self.least), f"least={self.least!r} must be a number of calls from 1")
        _refuse_unless(
            self.slow_after is None or _is_seconds(self.slow_after, 0.001, LONGEST),
            f"slow_after={self.slow_after!r} must be a number of seconds above 0, or None",
        )
        for name in ("over", "rest", "most_rest"):
            seconds = getattr(self, name)
            fits = _is_seconds(seconds, 1.0, LONGEST)
            _refuse_unless(fits, f"{name}={seconds!r} must be a number of seconds from 1 to a day")
        _refuse_unless(
            self.rest <= self.most_rest,
            f"rest={self.rest!r} must not be longer than most_rest={self.most_rest!r}",
        )


@dataclass(frozen=True)
class Limit:
    """How many calls of a tool all workers together may make. Calls beyond it wait as rows.

    Raises OptionError for what cannot work.
    """

    per_second: float | None = (
        None  #: calls that may start in a second, on average; 0.1 is one in ten seconds
    )
    burst: int = 1  #: how many of them may start together after a pause
    at_once: int | None = None  #: calls that may be under way at the same time

    def __post_init__(self) -> None:
        _refuse_unless(
            self.per_second is not None or self.at_once is not None,
            "a limit needs per_second, at_once or both",
        )
        _refuse_unless(
            self.per_second is None or _is_seconds(self.per_second, 1 / LONGEST, 1e6),
            f"per_second={self.per_second!r} must be a number of calls above 0: at least one a day",
        )
        _refuse_unless(_is_count(self.burst), f"burst={self.burst!r} must be a number of calls from 1")
        _refuse_unless(
            self.burst == 1 or self.per_second is not None,
            f"burst={self.burst!r} means nothing without per_second",
        )
        _refuse_unless(
            self.at_once is None or _is_count(self.at_once),
            f"at_once={self.at_once!r} must be a number of calls from 1",
        )
