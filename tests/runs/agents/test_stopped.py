"""The kill switch and agents: no model is asked, and no call of theirs is made, while it is on."""

from __future__ import annotations

import pytest

from runs import agent, engine, timers
from runs.engine import Outcome
from runs.models import Step
from tests.runs.agents.cast import DONE, LOOK_UP, by_turn, get_order
from tests.runs.agents.test_in_a_run import Reviewer, begin, reviewer, whole
from tools import registry, switches
from tools.switch import Waiting

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["reviewer"]


@pytest.mark.parametrize(
    ("kind", "name"), [("everything", ""), ("agent", "analyst"), ("workflow", "test.analyse")]
)
def test_no_model_is_asked(reviewer: Reviewer, kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "names", lambda: ["analyst"])
    script = by_turn(LOOK_UP, DONE)
    run = begin(script)
    switch = switches.kill(kind, name, reason="It raves.", by="user:omar")
    assert engine.advance(run.pk, "wrk_test") is Outcome.WAITING
    assert script.seen == []
    assert not Step.objects.filter(run=run, kind="model").exists()
    assert Waiting.objects.get().tool == ""
    assert switches.waiting_runs(switch.pk) == 1
    switches.release(switch.pk, then="resume", reason="Calm.", by="user:omar")
    timers.let_released_go()
    assert engine.advance(run.pk, "wrk_test") is Outcome.ENDED
    assert len(script.seen) == 2
    assert whole(run)


def test_the_calls_of_an_agent_are_stopped_with_it(
    reviewer: Reviewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "all_tools", lambda: [get_order])
    run = begin(by_turn(LOOK_UP, DONE))
    switch = switches.kill("tool", "get_order", reason="It raves.", by="user:omar")
    assert engine.advance(run.pk, "wrk_test") is Outcome.WAITING
    assert not Step.objects.filter(run=run, name="get_order").exists()
    switches.release(switch.pk, then="resume", reason="Calm.", by="user:omar")
    timers.let_released_go()
    assert engine.advance(run.pk, "wrk_test") is Outcome.ENDED
