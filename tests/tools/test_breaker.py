"""The circuit breaker as pure values: when it opens, how long it rests, and that one call at a time sees."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tools.breaker import BreakerState, Circuit, Counts, Sample, Window, judge, one
from tools.options import Breaker, Limit, OptionError

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
OPTIONS = Breaker(failures=0.5, slow=0.8, slow_after=2.0, least=4, over=60, rest=30, most_rest=100)


def after(circuit: Circuit, *samples: Sample, now: float = 0.0) -> Circuit:
    for sample in samples:
        circuit = circuit.counted(one(sample), OPTIONS, now)
    return circuit


def test_it_works() -> None:
    tripped = after(Circuit(), Sample.OK, Sample.FAILED, Sample.OK, Sample.FAILED)
    assert (tripped.state, tripped.retry_at) == (OPEN, 30.0)
    assert tripped.reason == "2 of the last 4 calls failed"
    assert not tripped.may_probe("k1", 29.9)
    assert tripped.may_probe("k1", 30.0)
    out = tripped.probing("k1", 70.0)
    assert out.state is HALF_OPEN
    assert out.may_probe("k1", 31.0)  # the same call again, after its worker came back
    assert not out.may_probe("k2", 69.9)
    assert out.may_probe("k2", 70.0)  # k1 is given up
    assert out.probed("k1", Sample.OK, OPTIONS, 40.0) == Circuit()


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (Counts(ok=0, failed=3), ""),  # too few to judge
        (Counts(ok=3, failed=2), ""),
        (Counts(ok=2, failed=2), "2 of the last 4 calls failed"),
        (Counts(ok=1, slow=3), ""),
        (Counts(ok=1, slow=4), "4 of the last 5 calls took longer than 2 s"),
        (Counts(ok=100), ""),
    ],
)
def test_what_opens_it(counts: Counts, said: str) -> None:
    assert judge(counts, OPTIONS) == said


def test_slow_calls_are_nothing_to_a_breaker_without_slow_after() -> None:
    assert judge(Counts(slow=50), Breaker(least=4)) == ""


def test_what_is_too_old_does_not_count() -> None:
    circuit = after(Circuit(), Sample.FAILED, Sample.FAILED, Sample.FAILED, now=0.0)
    assert after(circuit, Sample.FAILED, now=60.0).state is CLOSED
    assert after(circuit, Sample.FAILED, now=59.9).state is OPEN


def test_a_rest_doubles_until_it_is_as_long_as_it_may_be() -> None:
    circuit, rests = Circuit().opened("why", OPTIONS, 0.0), []
    for number in range(4):
        now = circuit.retry_at
        rests.append(now)
        circuit = circuit.probing(f"k{number}", now + 5).probed(f"k{number}", Sample.FAILED, OPTIONS, 0.0)
    assert rests == [30.0, 60.0, 100.0, 100.0]


def test_a_probe_that_says_nothing_lets_the_next_one_out_at_once() -> None:
    out = Circuit().opened("why", OPTIONS, 0.0).probing("k1", 70.0)
    back = out.probed("k1", Sample.NOTHING, OPTIONS, 35.0)
    assert (back.state, back.retry_at, back.trips) == (OPEN, 35.0, 1)
    assert back.may_probe("k2", 35.0)


def test_only_the_probe_decides() -> None:
    out = Circuit().opened("why", OPTIONS, 0.0).probing("k1", 70.0).probing("k2", 110.0)
    assert out.probed("k1", Sample.OK, OPTIONS, 72.0) == out
    assert out.counted(Counts(ok=1000), OPTIONS, 72.0) == out


def test_a_window_comes_back_from_its_row() -> None:
    window = Window().add(Counts(1, 2, 3), OPTIONS, 7.0).add(Counts(failed=1), OPTIONS, 20.0)
    assert Window.heard(window.told()) == window
    assert Window.heard(None) == Window()


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_a_window_counts_nothing_twice_and_nothing_older_than_itself(
    calls: list[tuple[float, int, int]],
) -> None:
    window, now = Window(), 0.0
    for at, ok, failed in sorted(calls):
        now = at
        window = window.add(Counts(ok=ok, failed=failed), OPTIONS, now)
    total = window.total(OPTIONS, now)
    young = [call for call in calls if call[0] > now - OPTIONS.over + OPTIONS.over / 10]
    near = [call for call in calls if call[0] > now - OPTIONS.over]
    assert sum(ok for _, ok, _ in young) <= total.ok <= sum(ok for _, ok, _ in near)
    assert sum(bad for *_, bad in young) <= total.failed <= sum(bad for *_, bad in near)
    assert len(window.buckets) <= 10


class BreakerMachine(RuleBasedStateMachine):
    """Any number of workers in any order: never two probes at once, and no rest is cut short."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit, self.now, self.out = Circuit(), 0.0, dict[str, float]()
        self.number = 0

    @rule(seconds=st.floats(0.1, 50))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.circuit.state is CLOSED)
    @rule(sample=st.sampled_from(Sample), many=st.integers(1, 5))
    def calls_come_back(self, sample: Sample, many: int) -> None:
        self.circuit = after(self.circuit, *[sample] * many, now=self.now)
        if self.circuit.state is OPEN:
            self.out.clear()

    @rule()
    def somebody_asks(self) -> None:
        self.number += 1
        key = f"k{self.number}"
        if not self.circuit.may_probe(key, self.now):
            return
        assert self.now >= self.circuit.free_at(self.now)
        assert not [until for until in self.out.values() if until > self.now], "two probes at once"
        self.out[key] = self.now + 10
        self.circuit = self.circuit.probing(key, self.now + 10)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), sample=st.sampled_from(Sample))
    def one_comes_back(self, data: Any, sample: Sample) -> None:
        key = data.draw(st.sampled_from(sorted(self.out)))
        before, trips = self.circuit, self.circuit.trips
        del self.out[key]
        self.circuit = before.probed(key, sample, OPTIONS, self.now)
        if before.probe != key:
            assert self.circuit == before
        elif sample is Sample.OK:
            assert self.circuit == Circuit()
        elif sample is not Sample.NOTHING:
            rest = min(100.0, 30.0 * 2**trips)
            assert self.circuit.retry_at == pytest.approx(self.now + rest)

    @invariant()
    def it_is_one_of_three(self) -> None:
        circuit = self.circuit
        assert (circuit.state is HALF_OPEN) == bool(circuit.probe)
        assert (circuit.state is CLOSED) == (circuit.trips == 0)
        assert circuit.state is CLOSED or not circuit.window.buckets
        assert Window.heard(circuit.window.told()) == circuit.window


TestMachine = BreakerMachine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures": 0},
        {"failures": 1.1},
        {"failures": float("nan")},
        {"failures": True},
        {"slow": -1},
        {"slow_after": 0},
        {"slow_after": float("inf")},
        {"least": 0},
        {"least": 2.5},
        {"over": 0.5},
        {"rest": 0},
        {"rest": 90_000},
        {"rest": 60, "most_rest": 30},
    ],
)
def test_a_breaker_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Breaker(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"per_second": 0},
        {"per_second": float("nan")},
        {"per_second": "5"},
        {"per_second": 1, "burst": 0},
        {"at_once": 0},
        {"at_once": True},
        {"at_once": 2, "burst": 3},
    ],
)
def test_a_limit_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Limit(**wrong)
