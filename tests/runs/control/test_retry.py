"""Retrying: the failed step again with its own key, or everything from an earlier step with others."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from runs import gate, journal, services, workflow
from runs.context import Run
from runs.gate import Go, Hold, ProposedCall, Refuse, Verdict
from runs.journal import Entry
from runs.models import Message, Step
from tests.runs.control.conftest import OMAR, start, turn, written
from tools.contract import IdempotencyKey
from tools.failures import InvalidData, Refused
from tools.models import ToolCall
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)


class World:
    """What the tools did, and whether they fail."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.failing = True

    def keys(self, name: str) -> list[str]:
        return [key for what, key in self.done if what == name]


@pytest.fixture
def world() -> World:
    """A read, a write, a write that fails at first, and a launch."""
    there = World()

    @tool(effect="read", name="r_look")
    def look() -> str:
        there.done.append(("look", ""))
        return "seen"

    @tool(effect="write", risk="low", name="r_put", rollback="None")
    def put(*, key: IdempotencyKey) -> str:
        there.done.append(("put", key))
        return "put"

    @tool(effect="write", risk="low", name="r_send", rollback="None")
    def send(*, key: IdempotencyKey) -> str:
        there.done.append(("send", key))
        if there.failing:
            raise Refused("closed") if there.failing == "refused" else InvalidData("broken")
        return "sent"

    @tool(effect="irreversible", risk="high", name="r_launch", rollback="None")
    def launch(*, key: IdempotencyKey) -> str:
        there.done.append(("launch", key))
        return "launched"

    @workflow.workflow("r.flow")
    def flow(run: Run, case: dict[str, Any]) -> list[str]:
        return [run.tool(look), run.tool(put), run.tool(send)]

    @workflow.workflow("r.launch")
    def launching(run: Run, case: dict[str, Any]) -> list[str]:
        return [run.tool(look), run.tool(launch), run.tool(send)]

    @workflow.workflow("r.gather")
    def gathering(run: Run, case: dict[str, Any]) -> list[Any]:
        run.tool(look)
        return run.gather(run.later(send), run.later(run.sleep, 3600), run.later(put))

    @workflow.workflow("r.branch")
    def branching(run: Run, case: dict[str, Any]) -> list[str]:
        def inside(run: Run) -> str:
            run.tool(put)
            return str(run.tool(send))

        return list(run.gather(run.later(inside)))

    return there


def retry(run: Any, **given: Any) -> Any:
    done = services.retry_run(run.id, actor=OMAR, reason="it was broken", **given)
    run.refresh_from_db()
    return done


def check(run: Any) -> None:
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []


def test_the_failed_step_again_with_its_own_key(world: World) -> None:
    run = start("r.flow")
    turn(run)
    assert run.state == "failed"
    world.failing = False
    retry(run)
    assert (run.state, run.output, run.finished_at) == ("queued", None, None)
    turn(run)
    assert (run.state, run.output) == ("succeeded", ["seen", "put", "sent"])
    assert [what for what, _ in world.done] == ["look", "put", "send", "send"]
    assert len(set(world.keys("send"))) == 1
    step = run.steps.get(path="3")
    assert step.attempt == 2 and step.error is None
    assert list(ToolCall.objects.filter(step_id=step.id).values_list("attempt", "state")) == [
        (1, "failed"),
        (2, "succeeded"),
    ]
    assert "again: it was broken" in run.journal.get(kind="run.retried").sentence
    check(run)


def test_it_may_fail_again_and_again(world: World) -> None:
    run = start("r.flow")
    turn(run)
    for attempt in (2, 3, 4, 5):
        retry(run)
        turn(run)
        assert run.state == "failed"
        assert run.steps.get(path="3").attempt == attempt
    assert len(set(world.keys("send"))) == 1


def test_what_was_refused_is_begun_anew(world: World) -> None:
    world.failing = "refused"  # type: ignore[assignment]
    run = start("r.flow")
    turn(run)
    assert run.steps.get(path="3").state == "refused"
    world.failing = False
    retry(run)
    turn(run)
    assert run.output == ["seen", "put", "sent"]
    assert len(set(world.keys("send"))) == 1
    aside = run.steps.get(path__contains="~")
    assert (aside.state, aside.path.partition("~")[0]) == ("refused", "3")
    assert "had it try step 3 (r_send) again" in run.journal.get(kind="run.retried").sentence
    check(run)


def test_branches_that_were_given_up_are_begun_again(world: World) -> None:
    run = start("r.gather")
    turn(run)
    assert run.state == "failed"
    world.failing = False
    retry(run)
    turn(run)
    assert (run.state, run.waiting_for[:5]) == ("waiting", "until"), "the nap that was cancelled"
    assert sorted(what for what, _ in world.done) == ["look", "put", "send", "send"]
    assert len(set(world.keys("send"))) == 1
    run.steps.filter(kind="sleep", state="waiting").update(due_at=timezone.now())
    services.wake(run)
    turn(run)
    assert run.output == ["sent", None, "put"]
    check(run)


def test_a_failure_inside_a_branch(world: World) -> None:
    run = start("r.branch")
    turn(run)
    assert run.state == "failed"
    world.failing = False
    retry(run)
    turn(run)
    assert run.output == ["sent"]
    assert [what for what, _ in world.done] == ["put", "send", "send"]
    assert set(run.steps.exclude(path__contains="~").values_list("state", flat=True)) == {"succeeded"}
    check(run)


class StrictGate:
    """Holds every launch and send until `yes`; counts who was asked."""

    def __init__(self) -> None:
        self.yes, self.asked = True, 0

    def review(self, call: ProposedCall) -> Verdict:
        if call.tool.name != "r_send" or self.yes:
            return Go(policy="test")
        return Hold("test", request="ask")

    def answer(self, call: ProposedCall) -> Verdict:
        return self.review(call)

    def open(self, call: ProposedCall, hold: Hold) -> list[Entry]:
        self.asked += 1
        return []

    def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Entry]:
        return []


def test_the_gate_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = StrictGate()
    monkeypatch.setattr(gate, "_installed", strict)
    run = start("r.flow")
    turn(run)
    world.failing, strict.yes = False, False
    retry(run)
    turn(run)
    assert (run.state, strict.asked, len(world.keys("send"))) == ("waiting", 1, 1)
    assert run.steps.get(path="3").state == "held"
    strict.yes = True
    services.wake(run)
    turn(run)
    assert run.output == ["seen", "put", "sent"]
    assert len(set(world.keys("send"))) == 1


def test_a_policy_that_has_become_strict_refuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start("r.flow")
    turn(run)
    world.failing = False
    retry(run)
    strict = StrictGate()
    strict.answer = lambda call: Refuse("policy", "no more")  # type: ignore[method-assign]
    monkeypatch.setattr(gate, "_installed", strict)
    turn(run)
    assert run.state == "failed" and len(world.keys("send")) == 1
    assert run.steps.get(path="3").state == "refused"


def test_back_to_an_earlier_step(world: World) -> None:
    run = start("r.flow")
    turn(run)
    world.failing = False
    old = list(run.steps.values_list("id", flat=True))
    retry(run, from_path="2")
    assert run.generation == 1
    turn(run)
    assert run.output == ["seen", "put", "sent"]
    assert [what for what, _ in world.done] == ["look", "put", "send", "put", "send"]
    assert len(set(world.keys("put"))) == 2 and len(set(world.keys("send"))) == 2, "other acts, other keys"
    assert set(run.steps.values_list("path", flat=True)) == {"1", "2", "3", "2~0", "3~0"}
    assert set(run.steps.filter(path__in=["1", "2~0", "3~0"]).values_list("id", flat=True)) == set(old)
    run.refresh_from_db()
    assert run.journal.get(kind="run.retried").content["from"] == "2"
    check(run)


def test_back_twice(world: World) -> None:
    run = start("r.flow")
    turn(run)
    for generation in (1, 2, 3):
        retry(run, from_path="1")
        turn(run)
        assert run.generation == generation
    assert len(set(world.keys("put"))) == 4
    assert run.steps.filter(path__in=["2~0", "2~1", "2~2", "2"]).count() == 4


@pytest.mark.parametrize("path", ["9", "0", "2/1", "x", "2~0", "-1", "1" * 300])
def test_back_to_a_step_that_is_not_there(world: World, path: str) -> None:
    run = start("r.flow")
    turn(run)
    before = written()
    with pytest.raises(services.NotPossible, match="has no step"):
        retry(run, from_path=path)
    assert written() == before


def test_never_back_over_what_cannot_be_undone(world: World) -> None:
    run = start("r.launch")
    turn(run)
    before = written()
    for path in ("1", "2"):
        with pytest.raises(services.NotPossible, match=r"step 2 \(r_launch\) happened and cannot be undone"):
            retry(run, from_path=path)
    assert written() == before
    world.failing = False
    retry(run, from_path="3")
    turn(run)
    assert run.output == ["seen", "launched", "sent"]
    assert len(world.keys("launch")) == 1


@pytest.mark.parametrize("state", ["started", "unknown"])
def test_never_back_over_what_may_have_happened(world: World, state: str) -> None:
    run = start("r.launch")
    turn(run)
    Step.objects.filter(run=run, path="2").update(state=state)
    before = written()
    with pytest.raises(services.NotPossible, match=r"step 2 \(r_launch\) was begun and may have happened"):
        retry(run, from_path="1")
    if state == "unknown":
        with pytest.raises(services.NotPossible, match="Nobody knows whether step 2"):
            retry(run)
    assert written() == before


def test_in_bulk_what_cannot_be_undone_is_left_for_a_look(world: World) -> None:
    runs = [start("r.flow"), start("r.launch"), start("r.flow")]
    for run in runs:
        turn(run)
    ids = [run.id for run in runs]
    assert services.foresee("retry", ids).sentence == (
        "3 chosen, 2 can be retried, 1 holds an irreversible effect"
    )
    done = services.in_bulk("retry", ids, actor=OMAR, reason="fixed")
    assert [found.possible for found in done.runs] == [True, False, True]
    runs[1].refresh_from_db()
    assert runs[1].state == "failed"


def test_messages_taken_on_the_way_are_given_back(world: World) -> None:
    run = start("r.flow")
    turn(run)
    step = run.steps.get(path="2")
    Message.objects.create(
        id="msg_1", run=run, name="go", payload={}, sender=OMAR, sent_at=timezone.now(), taken_by=step.id
    )
    retry(run, from_path="2")
    assert Message.objects.get(pk="msg_1").taken_by == ""


def test_an_open_step_on_the_way_is_closed(nap: str) -> None:
    run = start(nap)
    turn(run)
    services.pause_run(run.id, actor=OMAR, reason="a look")
    retry(run, from_path="1")
    assert run.steps.get(path="1~0").state == "cancelled"
    turn(run)
    assert run.steps.get(path="1").state == "waiting"
    check(run)


def test_a_child_that_launched_is_not_gone_back_over(world: World) -> None:
    parent, child = start("r.flow"), start("r.launch")
    turn(parent)
    turn(child)
    step = parent.steps.get(path="2")
    type(child).objects.filter(pk=child.pk).update(parent_id=parent.id, parent_step=step.id)
    with pytest.raises(services.NotPossible, match=f"of its child {child.id} happened and cannot be undone"):
        retry(parent, from_path="2")
    type(child).objects.filter(pk=child.pk).update(state="waiting")
    with pytest.raises(services.NotPossible, match=f"its child {child.id}, which has not ended"):
        retry(parent, from_path="1")
    retry(parent, from_path="3")
