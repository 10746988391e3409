"""The circuit breaker of one tool as pure values: no clock, no store. Times are seconds of any one clock.

Closed: calls pass and are counted. Open: none passes until its rest is over. Half-open: exactly one call, the
probe, is out to see; it closes the breaker or opens it again, for twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from tools.canonical import Json
from tools.options import Breaker

BUCKETS = 10  # a window forgets a tenth of itself at a time
_MOST_DOUBLINGS = 32


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"  # they do
    OPEN = "open"  # they do not, until the rest is over
    HALF_OPEN = "half_open"  # one is out to see


class Sample(StrEnum):
    """What one call says about the other side."""

    OK = "ok"
    SLOW = "slow"  # it answered, and took too long
    FAILED = "failed"
    NOTHING = "nothing"  # it never came as far as that, or the caller was to blame


@dataclass(frozen=True)
class Counts:
    """How many calls answered, were slow about it, and failed."""

    ok: int = 0
    slow: int = 0
    failed: int = 0

    @property
    def calls(self) -> int:
        """All of them."""
        return self.ok + self.slow + self.failed

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.ok + other.ok, self.slow + other.slow, self.failed + other.failed)


def one(sample: Sample) -> Counts:
    """A single call."""
    return Counts(**{sample.value: 1}) if sample is not Sample.NOTHING else Counts()


@dataclass(frozen=True)
class Window:
    """What was counted lately, by the number of the tenth of the window that it fell into, oldest first."""

    buckets: tuple[tuple[int, Counts], ...] = ()

    def add(self, counts: Counts, options: Breaker, now: float) -> Window:
        """With `counts` as of now, and without what has become too old."""
        if not counts.calls:
            return self
        number = int(now // (options.over / BUCKETS))
        # A clock that went back adds to the newest tenth instead.
        number = max([number, *(known for known, _ in self.buckets)])
        kept = {known: there for known, there in self.buckets if known > number - BUCKETS}
        kept[number] = kept.get(number, Counts()) + counts
        return Window(tuple(sorted(kept.items(), key=lambda item: item[0])))

    def total(self, options: Breaker, now: float) -> Counts:
        """All that still counts."""
        oldest = int(now // (options.over / BUCKETS)) - BUCKETS
        total = Counts()
        for number, counts in self.buckets:
            if number > oldest:
                total += counts
        return total

    def told(self) -> Json:
        """As JSON, for a row."""
        return [[number, there.ok, there.slow, there.failed] for number, there in self.buckets]

    @classmethod
    def heard(cls, row: Json) -> Window:
        """What `told` gave."""
        return cls(tuple((number, Counts(*counts)) for number, *counts in row or []))


def judge(counts: Counts, options: Breaker) -> str:
    """Why calls must stop, in a sentence; empty when they may go on."""
    if counts.calls < options.least:
        return ""
    if counts.failed >= options.failures * counts.calls:
        return f"{counts.failed} of the last {counts.calls} calls failed"
    if options.slow_after is not None and counts.slow >= options.slow * counts.calls:
        return f"{counts.slow} of the last {counts.calls} calls took longer than {options.slow_after:g} s"
    return ""


@dataclass(frozen=True)
class Circuit:
    """One breaker at one moment. Every method gives the next one and changes nothing."""

    state: BreakerState = BreakerState.CLOSED
    window: Window = field(default_factory=Window)
    reason: str = ""  # why it opened last
    retry_at: float = 0.0  # when its rest is over
    trips: int = 0  # how often it opened since it was last closed: each rest is twice the one before
    probe: str = ""  # the key of the call that is out to see
    probe_until: float = 0.0  # when that call is given up

    def counted(self, counts: Counts, options: Breaker, now: float) -> Circuit:
        """After these calls. Those that come back while it is not closed were begun before, and change
        nothing.
        """
        if self.state is not BreakerState.CLOSED:
            return self
        window = self.window.add(counts, options, now)
        reason = judge(window.total(options, now), options)
        after = replace(self, window=window)
        return after.opened(reason, options, now) if reason else after

    def opened(self, reason: str, options: Breaker, now: float, *, at_least: float = 0.0) -> Circuit:
        """No call passes for the rest, and for `at_least` seconds."""
        rest = min(options.most_rest, options.rest * 2.0 ** min(self.trips, _MOST_DOUBLINGS))
        return Circuit(
            state=BreakerState.OPEN,
            reason=reason,
            retry_at=now + max(rest, at_least),
            trips=self.trips + 1,
        )

    def may_probe(self, key: str, now: float) -> bool:
        """Whether the call with this key may go out to see, now."""
        if self.state is BreakerState.OPEN:
            return now >= self.retry_at
        if self.state is BreakerState.HALF_OPEN:
            return key == self.probe or now >= self.probe_until
        return False

    def probing(self, key: str, until: float) -> Circuit:
        """The call with this key is out to see, and is given up at `until`."""
        return replace(self, state=BreakerState.HALF_OPEN, probe=key, probe_until=until)

    def probed(self, key: str, sample: Sample, options: Breaker, now: float) -> Circuit:
        """The call with this key came back. Only the probe decides; one that was given up does not."""
        if self.state is not BreakerState.HALF_OPEN or key != self.probe:
            return self
        if sample is Sample.OK:
            return Circuit()
        if sample is Sample.NOTHING:
            return replace(self, state=BreakerState.OPEN, retry_at=now, probe="", probe_until=0.0)
        found = "took too long again" if sample is Sample.SLOW else "failed again"
        return self.opened(f"the call that was let through to see {found}", options, now)

    def free_at(self, now: float) -> float:
        """When it is worth asking again whether a call may pass; `now` when it is now."""
        if self.state is BreakerState.CLOSED:
            return now
        return max(now, self.retry_at if self.state is BreakerState.OPEN else self.probe_until)
