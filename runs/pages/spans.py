"""Moments and lengths of time in words. The script that keeps pages fresh spells them the same way."""

from __future__ import annotations

from datetime import datetime

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def length(seconds: float) -> str:
    """A length of time in its two largest units, such as ``2 h 5 min``; below ten seconds with tenths,
    below a tenth in ms."""
    if seconds < 0.1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    for place, (unit, size) in enumerate(_UNITS):
        if whole >= size:
            count, rest = divmod(whole, size)
            words = f"{count} {unit}"
            if place + 1 < len(_UNITS):
                lower, lower_size = _UNITS[place + 1]
                words += f" {rest // lower_size} {lower}" if rest // lower_size else ""
            return words
    return "0 s"


def relative(moment: datetime, now: datetime) -> str:
    """`moment` as seen from `now`: ``in 24 min``, ``36 min ago`` or ``just now``."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    words = rounded(abs(seconds))
    return f"in {words}" if seconds > 0 else f"{words} ago"


def rounded(seconds: float) -> str:
    """A length in one unit, or two where hours or days would hide too much: ``24 min``, ``2 h 5 min``."""
    return length(seconds) if seconds >= 3600 else length(float(int(seconds) // 60 * 60 or int(seconds)))


def left(seconds: float) -> str:
    """How long there is until a deadline."""
    return f"{rounded(seconds)} left" if seconds >= 1 else "time is over"
