"""The timeline of a run as a drawing: from acts in time to rectangles in percent. Pure; knows no rows.

People take hours where machines take seconds. So every stretch of more than a minute in which no machine
worked is drawn with a fixed width, as a break, and the rest of the width belongs to the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from runs.pages import spans

LONG_WAIT = timedelta(seconds=60)
ROW_HEIGHT = 38
TOP = 26  # room above the first row for the length of breaks
LEAST_WIDTH = 0.6  # percent: what is too short to be seen is drawn this wide
BREAK_WIDTH = 12.0
BREAKS_AT_MOST = 40.0  # percent that all breaks together may take


class Kind(StrEnum):
    """What a stretch of an act is."""

    WORK = "work"  # a machine is busy
    WAIT = "wait"  # for a person, the clock or the next attempt
    FRAME = "frame"  # an act that consists of others


@dataclass(frozen=True)
class Stretch:
    """A part of an act. `end` None: it goes on. `tone` names the colour."""

    kind: Kind
    start: datetime
    end: datetime | None
    tone: str


@dataclass(frozen=True)
class Act:
    """One row: a step with its attempts and waits, `depth` levels inside other acts."""

    label: str
    depth: int
    state: str
    stretches: tuple[Stretch, ...]
    remark: str = ""


@dataclass(frozen=True)
class Box:
    """A rectangle of a row: `x` and `width` in percent. A folded one is drawn as a zigzag."""

    kind: Kind
    tone: str
    x: float
    width: float
    folded: bool


@dataclass(frozen=True)
class Row:
    """An act with its place: `y` in pixels."""

    act: Act
    y: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Break:
    """A long wait, folded: where, how wide (percent), and how long it was in words."""

    x: float
    width: float
    label: str
    fits: bool  # there is room for the label


@dataclass(frozen=True)
class Drawing:
    """Everything the template draws."""

    rows: tuple[Row, ...]
    breaks: tuple[Break, ...]
    height: int
    began_at: datetime
    ended_at: datetime
    busy_seconds: float

    @property
    def total_seconds(self) -> float:
        return (self.ended_at - self.began_at).total_seconds()


Interval = tuple[datetime, datetime]


def draw(acts: Sequence[Act], now: datetime) -> Drawing | None:
    """Lay out `acts` up to `now`; None when there is nothing to draw."""
    stretches = [stretch for act in acts for stretch in act.stretches]
    if not stretches:
        return None
    began = min(stretch.start for stretch in stretches)
    ended = max(max(_end(stretch, now), stretch.start) for stretch in stretches)
    busy = _union([(s.start, _end(s, now)) for s in stretches if s.kind is Kind.WORK])
    scale = _Scale(began, ended, _long_gaps(busy, began, ended))
    top = TOP if scale.gaps else 0
    rows = tuple(
        Row(act, top + place * ROW_HEIGHT, tuple(_boxes(act, scale, now))) for place, act in enumerate(acts)
    )
    seconds = sum((end - start).total_seconds() for start, end in busy)
    return Drawing(rows, scale.breaks(), top + len(rows) * ROW_HEIGHT, began, ended, seconds)


def _end(stretch: Stretch, now: datetime) -> datetime:
    # A clock a little behind the database's must not turn a stretch round.
    return max(stretch.end or now, stretch.start)


def _union(intervals: Sequence[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _long_gaps(busy: Sequence[Interval], began: datetime, ended: datetime) -> list[Interval]:
    edges = [began, *(edge for interval in busy for edge in interval), ended]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return [(start, end) for start, end in gaps if end - start > LONG_WAIT]


class _Scale:
    """From moments to percent of the width: piecewise linear, with the long gaps folded."""

    def __init__(self, began: datetime, ended: datetime, gaps: Sequence[Interval]) -> None:
        self.began, self.ended, self.gaps = began, ended, gaps
        self.gap_width = min(BREAK_WIDTH, BREAKS_AT_MOST / len(gaps)) if gaps else 0.0
        folded = sum((end - start).total_seconds() for start, end in gaps)
        open_seconds = (ended - began).total_seconds() - folded
        if gaps and open_seconds <= 0:
            self.gap_width = 100.0 / len(gaps)
        room = 100.0 - self.gap_width * len(gaps)
        self.per_second = room / open_seconds if open_seconds > 0 else 0.0

    def at(self, moment: datetime) -> float:
        """Where `moment` lies, in percent."""
        moment = min(max(moment, self.began), self.ended)
        place, reached = 0.0, self.began
        for start, end in self.gaps:
            if moment <= start:
                break
            place += (start - reached).total_seconds() * self.per_second
            share = (min(moment, end) - start) / (end - start)
            place, reached = place + share * self.gap_width, min(moment, end)
        place += max(0.0, (moment - reached).total_seconds()) * self.per_second
        return min(place, 100.0)

    def breaks(self) -> tuple[Break, ...]:
        return tuple(
            Break(
                round(self.at(start), 2),
                round(self.gap_width, 2),
                spans.length((end - start).total_seconds()),
                fits=self.gap_width >= BREAK_WIDTH,
            )
            for start, end in self.gaps
        )


def _boxes(act: Act, scale: _Scale, now: datetime) -> list[Box]:
    boxes = []
    for stretch in act.stretches:
        start, end = stretch.start, _end(stretch, now)
        # A wait is cut where a break begins and ends, so that only the folded part is drawn as a zigzag.
        cuts = [start, end]
        if stretch.kind is Kind.WAIT:
            cuts += [edge for gap in scale.gaps for edge in gap if start < edge < end]
        cuts.sort()
        for left, right in zip(cuts, cuts[1:], strict=False):
            folded = any(begin <= left and right <= until and right > left for begin, until in scale.gaps)
            boxes.append(_box(stretch, scale, left, right, folded and stretch.kind is Kind.WAIT))
    return boxes


def _box(stretch: Stretch, scale: _Scale, left: datetime, right: datetime, folded: bool) -> Box:
    x = scale.at(left)
    width = max(scale.at(right) - x, LEAST_WIDTH)
    return Box(stretch.kind, stretch.tone, round(min(x, 100.0 - width), 2), round(width, 2), folded)
