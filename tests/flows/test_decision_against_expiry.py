"""A decision and the end of its time at the same moment: in time or too late, never both."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from approvals import services, timers
from approvals.models import Approval
from approvals.refusals import ExpiredAlready
from runs.clock import db_now
from runs.models import Run
from tests.flows.conftest import Crew, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until, act
from tests.together import Player, at_once

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
# When the decision comes, in milliseconds from the deadline: surely in time, about then, surely too late.
MOMENTS = [-200, *range(-14, 15, 2), 200]
LEAD = timedelta(milliseconds=300)


def reviewer(person: User, asked: list[tuple[str, str]], ends: list[datetime]) -> Player:
    """Somebody who approves at the moment of each round."""

    def say(number: int) -> Any:
        approval_id, digest = asked[number]
        begin(approval_id, ends, number)
        await_database_time(ends[number] + timedelta(milliseconds=MOMENTS[number]))
        try:
            services.decide(approval_id, by=person, verdict="approve", digest=digest)
        except ExpiredAlready as error:
            return ("late", str(error))
        return ("in time", "")

    return say


def caretaker(asked: list[tuple[str, str]], ends: list[datetime]) -> Player:
    """A caretaker that looks again and again around each deadline."""

    def sweep(number: int) -> Any:
        noted, until = 0, time.monotonic() + LEAD.total_seconds() + 0.3
        while time.monotonic() < until:
            noted += timers.expire_due()
        return noted

    return sweep


def begin(approval_id: str, ends: list[datetime], number: int) -> None:
    ends[number] = db_now() + LEAD
    Approval.objects.filter(pk=approval_id).update(expires_at=ends[number])


def await_database_time(moment: datetime) -> None:
    while db_now() < moment:
        pass


def test_each_is_decided_or_expired_and_never_both(crew: Crew, stage: Stage, until: Until, bea: User) -> None:
    crew.start(1)
    runs = [stage.start(act("launch", str(number))) for number in range(len(MOMENTS))]
    until(lambda: all(stage.asks(run) for run in runs), 60)
    asked = [(one.pk, one.digest) for one in (stage.approval(run) for run in runs)]
    ends = [db_now()] * len(MOMENTS)
    rounds = at_once(len(MOMENTS), [reviewer(bea, asked, ends), caretaker(asked, ends)])
    until(lambda: not Run.objects.exclude(state__in=["succeeded", "cancelled"]).exists(), 60)

    outcomes: Counter[str] = Counter()
    for number, (run, (told, _)) in enumerate(zip(runs, rounds, strict=True)):
        approval = Approval.objects.get(pk=asked[number][0])
        in_time = told[0] == "in time"
        assert approval.state == ("approved" if in_time else "expired")
        assert approval.decisions.count() == int(in_time)
        assert approval.decided_at is not None
        assert (approval.decided_at < approval.expires_at) is in_time
        assert len(world.happened(f"asked to launch {number}")) == int(in_time)
        assert state_of(run) == ("succeeded" if in_time else "cancelled")
        kinds = [e.kind for e in assert_whole(run).journal.filter(kind__startswith="approval.")]
        assert kinds == ["approval.requested", f"approval.{approval.state}"]
        assert in_time or f"{approval.expires_at:%H:%M:%S}" in told[1], "the loser is told when it ended"
        outcomes[approval.state] += 1
    assert set(outcomes) == {"approved", "expired"}, outcomes
