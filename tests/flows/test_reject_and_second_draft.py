"""A no is an answer: sent back it brings another draft, and a stop or a go-on-without is obeyed."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from approvals.models import Approval
from runs.models import Run
from runs.steps.proposal import idempotency_key
from tests.flows.conftest import Crew, Decide, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until, act

pytestmark = pytest.mark.processes


@pytest.fixture
def asked(crew: Crew, stage: Stage, until: Until) -> Run:
    """A run that asks whether it may launch b."""
    crew.start(1)
    run = stage.start(act("put", "a"), act("launch", "b"), act("look", "c"))
    until(lambda: stage.asks(run))
    return run


def test_sent_back_it_is_proposed_again_and_done_once(
    asked: Run, stage: Stage, until: Until, bea: User, carl: User, decide: Decide
) -> None:
    first = stage.approval(asked)
    decide(asked, bea, "reject", reason="Say which one.", next="send_back")
    until(lambda: Approval.objects.filter(run=asked, state="pending").exclude(pk=first.pk).exists())
    second = stage.approval(asked)
    assert not world.happened("asked to launch b") and not world.happened("asked to launch b 2")
    decide(asked, carl)
    until(lambda: state_of(asked) == "succeeded")

    row = assert_whole(asked)
    assert row.output == ["a", "b 2", "c"]
    assert (second.digest != first.digest, second.step_id != first.step_id) == (True, True)
    (flight,) = world.happened("launch b 2")
    old_key, new_key = (idempotency_key(asked.pk, path) for path in ("2", "3"))
    assert flight["key"] == new_key != old_key
    assert not world.happened("launch b")
    ends = Approval.objects.filter(run=asked).order_by("created_at")
    told = [(one.state, one.decided_by, one.consumed_by_key) for one in ends]
    assert told == [("rejected", "user:bea", ""), ("approved", "user:carl", new_key)]
    assert stage.step(asked, "2").state == "refused"
    assert [e.actor for e in stage.entries(asked, "approval.rejected")] == ["user:bea"]


def test_a_stop_ends_the_run_and_nothing_more_is_done(
    asked: Run, stage: Stage, until: Until, bea: User, decide: Decide
) -> None:
    decide(asked, bea, "reject", reason="Not today.", next="stop")
    until(lambda: state_of(asked) == "cancelled")
    row = assert_whole(asked)
    (end,) = stage.entries(asked, "run.cancelled")
    assert "bea" in end.sentence and "Not today." in end.sentence
    assert row.output["error"]["by"] == "user:bea"
    assert [len(world.happened(w)) for w in ("put a", "asked to launch b", "look c")] == [1, 0, 0]
    assert (row.lease_owner, row.finished_at is not None) == ("", True)


def test_a_run_told_to_continue_goes_on_without_the_act(
    asked: Run, stage: Stage, until: Until, bea: User, decide: Decide
) -> None:
    decide(asked, bea, "reject", reason="Leave it.", next="continue")
    until(lambda: state_of(asked) == "succeeded")
    row = assert_whole(asked)
    assert row.output == ["a", "without b: Leave it.", "c"]
    assert [len(world.happened(w)) for w in ("put a", "asked to launch b", "look c")] == [1, 0, 1]
