"""Two reviewers, each in a process of their own, at the same moment: one outcome, and the other is told."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import User

from approvals import services
from approvals.models import Approval
from approvals.refusals import AlreadyDecided
from runs.models import Run
from tests.flows.conftest import Crew, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until, act
from tests.together import Player, at_once

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
ROUNDS = 20


def reviewer(person: User, verdict: str, asked: list[tuple[str, str]], side: int) -> Player:
    """Somebody who says `verdict` to the request of each round, and tells what came of it.

    In every other round the other one is a millisecond ahead, which is less than a decision takes.
    """

    def say(number: int) -> Any:
        approval_id, digest = asked[number]
        time.sleep(0.001 * ((number + side) % 2))
        try:
            services.decide(
                approval_id, by=person, verdict=verdict, digest=digest, reason="Because.", next="continue"
            )
        except AlreadyDecided as error:
            told = error.outcome
            return ("lost", told.by, str(told.state), told.at is not None, str(error))
        return ("won", f"user:{person.username}")

    return say


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_one_of_them_decides_and_the_other_is_told_who_when_and_what(
    crew: Crew, stage: Stage, until: Until, bea: User, carl: User, second: str
) -> None:
    crew.start(1)
    runs = [stage.start(act("launch", str(number))) for number in range(ROUNDS)]
    until(lambda: all(stage.asks(run) for run in runs), 60)
    asked = [(one.pk, one.digest) for one in (stage.approval(run) for run in runs)]
    # The worker stays at work meanwhile: it carries out what was decided while the next round is on.
    rounds = at_once(ROUNDS, [reviewer(bea, "approve", asked, 0), reviewer(carl, second, asked, 1)])
    until(lambda: Run.objects.filter(state="succeeded").count() == ROUNDS, 60)

    winners: Counter[str] = Counter()
    for number, (run, told) in enumerate(zip(runs, rounds, strict=True)):
        (won,) = (each for each in told if each[0] == "won")
        (lost,) = (each for each in told if each[0] == "lost")
        approval = Approval.objects.get(pk=asked[number][0])
        (decision,) = approval.decisions.all()
        assert won[1] == decision.actor == approval.decided_by
        assert lost[1:4] == (decision.actor, approval.state, True)
        assert decision.by.username in lost[4]
        approved = decision.verdict == "approve"
        assert approval.state == ("approved" if approved else "rejected")
        assert len(world.happened(f"launch {number}")) == int(approved)
        assert len(stage.entries(run, f"approval.{approval.state}")) == 1
        assert approval.history.count() == (3 if approved else 2)  # asked, decided, used by its call
        assert state_of(run) == assert_whole(run).state == "succeeded"
        winners[decision.actor] += 1
    assert len(winners) == 2, f"they never met: {winners}"
