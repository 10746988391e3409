"""Branches of a run side by side: their results, their waits, their failures, and replay."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db.models import F

from runs import engine, services, workflow
from runs.agent import AgentDefinition, Limits
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
from runs.turns.lanes import SIDE_BY_SIDE
from tools.contract import IdempotencyKey
from tools.failures import Refused, Transient
from tools.models import ToolCall
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


def start(name: str) -> RunRow:
    return services.start_run(name, {}, actor="user:ana")


def finish(run: RunRow) -> Any:
    engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    return run.output


def test_it_works_and_bodies_overlap() -> None:
    together = threading.Barrier(3, timeout=10)

    @tool(effect="read")
    def look(place: int) -> int:
        """Only returns when three of them are under way."""
        together.wait()
        return place * 10

    @workflow.workflow("t.gather")
    def flow(run: Run, case: dict[str, Any]) -> list[int]:
        return run.gather(*(run.later(look, place) for place in range(3)))

    run = start("t.gather")
    assert finish(run) == [0, 10, 20]
    assert list(run.steps.values_list("path", "kind", "state")) == [
        ("1", "tool", "succeeded"),
        ("2", "tool", "succeeded"),
        ("3", "tool", "succeeded"),
    ]


def test_all_intents_are_one_commit(django_assert_num_queries: Any) -> None:
    seen: list[int] = []

    @tool(effect="read")
    def look(place: int) -> int:
        """How many intents are on record when the body runs."""
        seen.append(Step.objects.filter(state="started").count())
        return place

    @workflow.workflow("t.intents")
    def flow(run: Run, case: dict[str, Any]) -> list[int]:
        return run.gather(*(run.later(look, place) for place in range(5)))

    finish(start("t.intents"))
    assert seen == [5] * 5


def test_a_branch_of_code_has_its_steps_below_it() -> None:
    @tool(effect="read")
    def double(number: int) -> int:
        return number * 2

    def quadruple(run: Run, number: int) -> int:
        return int(run.tool(double, run.tool(double, number)))

    @workflow.workflow("t.code")
    def flow(run: Run, case: dict[str, Any]) -> list[int]:
        first = run.gather(run.later(quadruple, 1), run.later(quadruple, 2))
        return [*first, run.tool(double, 7)]

    run = start("t.code")
    assert finish(run) == [4, 8, 14]
    assert sorted(run.steps.values_list("path", flat=True)) == ["1", "1/1", "1/2", "2", "2/1", "2/2", "4"]


def test_waits_of_branches_pass_together() -> None:
    def nap(run: Run, seconds: float) -> float:
        run.sleep(seconds)
        return seconds

    @workflow.workflow("t.naps")
    def flow(run: Run, case: dict[str, Any]) -> list[float]:
        return run.gather(run.later(nap, 3600), run.later(nap, 60), run.later(run.sleep, 7200))

    run = start("t.naps")
    assert engine.advance(run.id, "wrk_a") is engine.Outcome.WAITING
    run.refresh_from_db()
    due = sorted(step.due_at for step in run.steps.filter(kind="sleep") if step.due_at)
    assert len(due) == 3
    assert run.wake_at == due[0]


def test_the_first_failure_is_raised_and_the_others_are_given_up() -> None:
    @tool(effect="read")
    def refuse() -> int:
        raise Refused("not today")

    @workflow.workflow("t.fails")
    def flow(run: Run, case: dict[str, Any]) -> str:
        try:
            run.gather(run.later(run.sleep, 3600), run.later(refuse))
        except Refused as error:
            run.sleep(0)
            return f"told: {error.reason}"
        return "nobody failed"

    run = start("t.fails")
    assert finish(run) == "told: not today"
    states = dict(run.steps.values_list("path", "state"))
    assert states == {"1": "cancelled", "2": "refused", "3": "succeeded", "4": "succeeded"}


def test_with_return_failures_everybody_goes_on_to_the_end() -> None:
    @tool(effect="read")
    def refuse() -> int:
        raise Refused("not today")

    @tool(effect="read")
    def look() -> int:
        return 1

    @workflow.workflow("t.all")
    def flow(run: Run, case: dict[str, Any]) -> list[str]:
        found = run.gather(run.later(refuse), run.later(look), return_failures=True)
        return [type(each).__name__ for each in found]

    assert finish(start("t.all")) == ["Refused", "int"]


def test_a_race_has_one_winner_also_on_replay() -> None:
    winners: list[int] = []

    @tool(effect="read")
    def look() -> str:
        return "here"

    @workflow.workflow("t.race")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        place, value = run.race(run.later(run.sleep, 3600), run.later(look))
        winners.append(place)
        run.sleep(0.2)
        return [place, value]

    run = start("t.race")
    assert engine.advance(run.id, "wrk_a") is engine.Outcome.WAITING
    assert dict(run.steps.values_list("path", "state"))["1"] == "cancelled"
    RunRow.objects.filter(pk=run.id).update(wake_at=run.created_at)
    while engine.advance(run.id, "wrk_b") is not engine.Outcome.ENDED:
        services.wake_due(run.id)
    run.refresh_from_db()
    assert run.output == [1, "here"]
    assert set(winners) == {1}


def test_a_branch_that_needs_a_person_does_not_wait_for_the_others() -> None:
    @tool(effect="irreversible", rollback="None")
    def wire(*, key: IdempotencyKey) -> str:
        raise Transient("the answer was lost")

    @workflow.workflow("t.in_doubt")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        return run.gather(run.later(run.sleep, 3600), run.later(wire))

    run = start("t.in_doubt")
    finish(run)
    assert (run.state, run.attention and run.attention["code"]) == ("needs_attention", "unknown_outcome")


def test_branches_within_branches() -> None:
    @tool(effect="read")
    def look(number: int) -> int:
        return number

    def pair(run: Run, number: int) -> int:
        return sum(run.gather(run.later(look, number), run.later(look, number + 1)))

    @workflow.workflow("t.nested")
    def flow(run: Run, case: dict[str, Any]) -> int:
        return sum(run.gather(run.later(pair, 1), run.later(pair, 10)))

    run = start("t.nested")
    assert finish(run) == 24
    assert run.steps.count() == 6


def test_many_more_than_fit_side_by_side() -> None:
    @tool(effect="read")
    def look(number: int) -> int:
        return number

    @workflow.workflow("t.many")
    def flow(run: Run, case: dict[str, Any]) -> int:
        return sum(run.gather(*(run.later(look, number) for number in range(100))))

    assert finish(start("t.many")) == sum(range(100))


def test_a_write_in_hand_is_recorded_before_the_failure_of_another_ends_it() -> None:
    failing, done = threading.Event(), threading.Event()

    @tool(effect="write", title="Put")
    def put(*, key: IdempotencyKey) -> str:
        failing.wait(10)
        done.set()
        return key

    @tool(effect="read")
    def refuse() -> int:
        failing.set()
        raise Refused("not today")

    @workflow.workflow("t.write")
    def flow(run: Run, case: dict[str, Any]) -> str:
        try:
            run.gather(run.later(put), run.later(refuse))
        except Refused:
            return "told"
        return "no"

    run = start("t.write")
    assert finish(run) == "told"
    assert done.is_set()
    assert run.steps.get(path="1").state == "succeeded"


def test_nothing_to_do_is_a_clear_error() -> None:
    @workflow.workflow("t.nothing")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        return run.gather()

    assert "needs something to do" in finish(start("t.nothing"))["error"]["message"]


# What goes wrong


def test_what_was_never_begun_is_not_in_doubt() -> None:
    """The other branch fails while the intents of this one still wait to be written."""

    @tool(effect="irreversible", risk="high", rollback="None")
    def launch(*, key: IdempotencyKey) -> str:
        raise AssertionError("it was never begun")

    def break_down(run: Run) -> None:
        raise ValueError("at once")

    @workflow.workflow("t.early")
    def flow(run: Run, case: dict[str, Any]) -> str:
        try:
            run.gather(run.later(launch), run.later(break_down), run.later(launch))
        except ValueError:
            return "told"
        return "no"

    run = start("t.early")
    assert finish(run) == "told"
    assert sorted(run.steps.values_list("kind", "state")) == [("branch", "failed"), ("gather", "succeeded")]
    assert not ToolCall.objects.exists()


def test_a_pause_takes_back_what_was_about_to_begin() -> None:
    looked, launched = threading.Event(), []

    @tool(effect="write", rollback="None")
    def put(*, key: IdempotencyKey) -> str:
        looked.wait(10)
        services.pause_run(RunRow.objects.get().id, actor="user:omar", reason="Wait.")
        paused.set()
        time.sleep(0.2)  # the other branch comes to its launch meanwhile; its intent must not be written
        return key

    paused = threading.Event()

    @tool(effect="read")
    def look() -> int:
        looked.set()
        paused.wait(10)
        return 1

    @tool(effect="irreversible", risk="high", rollback="None")
    def launch(*, key: IdempotencyKey) -> str:
        launched.append(key)
        return key

    def look_and_launch(run: Run) -> str:
        run.tool(look)
        return str(run.tool(launch))

    @workflow.workflow("t.paused")
    def flow(run: Run, case: dict[str, Any]) -> list[str]:
        return run.gather(run.later(put), run.later(look_and_launch))

    run = start("t.paused")
    assert engine.advance(run.id, "wrk_a") is engine.Outcome.PAUSED
    assert (run.steps.get(name="put").state, launched) == ("succeeded", [])
    assert not ToolCall.objects.filter(tool="launch").exists(), "nothing says that it was begun"
    services.resume_run(run.id, actor="user:omar", reason="Go.")
    assert len(finish(run)) == 2
    assert len(launched) == 1


def test_branches_inside_a_branch_that_lost_are_given_up_too() -> None:
    never, begun = threading.Event(), []

    @tool(effect="read")
    def hang(number: int) -> int:
        begun.append(number)
        never.wait(30)
        return number

    @tool(effect="read")
    def look() -> str:
        return "first"

    def then_more(run: Run, number: int) -> int:
        return int(run.tool(hang, number)) + int(run.tool(hang, number + 10))

    def nested(run: Run) -> list[int]:
        return run.gather(run.later(then_more, 1), run.later(then_more, 2))

    @workflow.workflow("t.nested_race")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        return list(run.race(run.later(nested), run.later(look)))

    run, began = start("t.nested_race"), time.monotonic()
    assert finish(run) == [1, "first"]
    assert time.monotonic() - began < 20, "nobody waited for what had lost"
    never.set()
    assert not run.steps.filter(state__in=["started", "waiting"]).exists()
    assert set(begun) <= {1, 2}


def test_many_branches_of_several_acts_share_the_places() -> None:
    lock, now, most, recorded = threading.Lock(), [0], [0], [0]

    @tool(effect="read")
    def look(number: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        if number % 7 == 0:
            recorded[0] = max(recorded[0], Step.objects.filter(kind="tool", state="started").count())
        with lock:
            now[0] -= 1
        return number

    def three(run: Run, number: int) -> int:
        return sum(int(run.tool(look, number + place)) for place in range(3))

    @workflow.workflow("t.crowd")
    def flow(run: Run, case: dict[str, Any]) -> int:
        return sum(run.gather(*(run.later(three, number) for number in range(80))))

    assert finish(start("t.crowd")) == sum(3 * number + 3 for number in range(80))
    assert 1 < most[0] <= SIDE_BY_SIDE
    assert recorded[0] <= SIDE_BY_SIDE, "who waits for a place is not on record as begun"


def test_starting_children_takes_no_place() -> None:
    @workflow.workflow("t.leaf")
    def leaf(run: Run, case: int) -> int:
        return case

    @tool(effect="read")
    def look(number: int) -> int:
        return number

    def start_and_look(run: Run, number: int) -> int:
        run.child(leaf, number, wait=False)
        return int(run.tool(look, number))

    @workflow.workflow("t.sower")
    def flow(run: Run, case: dict[str, Any]) -> int:
        return sum(run.gather(*(run.later(start_and_look, number) for number in range(40))))

    run = start("t.sower")
    assert finish(run) == sum(range(40))
    assert RunRow.objects.filter(parent_id=run.id).count() == 40


def test_code_that_tries_to_end_the_process_ends_the_turn_and_leaves_nothing_behind() -> None:
    @tool(effect="read")
    def look() -> int:
        return 1

    def leave(run: Run) -> None:
        raise SystemExit(3)

    @workflow.workflow("t.leaves")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        return run.gather(run.later(run.sleep, 60), run.later(leave), run.later(look))

    run = start("t.leaves")
    with pytest.raises(SystemExit):
        engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    assert run.state == "running", "for a caretaker, as after any death"


def test_a_turn_that_lost_its_run_writes_nothing_more() -> None:
    taken = threading.Event()

    @tool(effect="read")
    def look(number: int) -> int:
        if number == 0:
            RunRow.objects.update(lease_epoch=F("lease_epoch") + 1, lease_owner="wrk_b")
            taken.set()
        taken.wait(10)
        return number

    def two(run: Run, number: int) -> int:
        return int(run.tool(look, number)) + int(run.tool(look, number + 10))

    @workflow.workflow("t.fenced")
    def flow(run: Run, case: dict[str, Any]) -> list[int]:
        return run.gather(*(run.later(two, number) for number in range(4)))

    run = start("t.fenced")
    assert engine.advance(run.id, "wrk_a") is engine.Outcome.FENCED
    assert run.steps.filter(kind="tool").count() == 4
    assert not run.steps.filter(kind="tool", state="succeeded").exists()


def test_a_branch_that_uses_the_run_around_it_is_told() -> None:
    @tool(effect="read")
    def look() -> int:
        return 1

    @workflow.workflow("t.closure")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        def mine(branch: Run) -> int:
            return int(run.tool(look))

        ends = run.gather(run.later(mine), run.later(mine), return_failures=True)
        return [str(end) for end in ends]

    run = start("t.closure")
    assert ["given as its first parameter" in said for said in finish(run)] == [True, True]
    assert not run.steps.filter(kind="tool").exists()


# Agents


@pytest.fixture
def talkers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AgentDefinition]:
    """Makes agents whose models answer when `until` says so, without holding up their thread."""
    from pydantic_ai.messages import ModelResponse, TextPart
    from pydantic_ai.models.function import FunctionModel

    from runs.agents import run as agents

    made: dict[str, Callable[[], bool]] = {}

    def model(definition: AgentDefinition, identifier: str) -> FunctionModel:
        async def answer(messages: Any, info: Any) -> ModelResponse:
            until = made[definition.name]
            async with asyncio.timeout(10):
                while not until():
                    await asyncio.sleep(0.01)
            return ModelResponse(parts=[TextPart(f"{definition.name} answers")])

        return FunctionModel(answer, model_name=identifier)

    def make(name: str, until: Callable[[], bool], **limits: Any) -> AgentDefinition:
        made[name] = until
        return AgentDefinition(name, 1, str, (), "Answer.", script=lambda talk: None, limits=Limits(**limits))

    monkeypatch.setattr(agents, "scripted_model", model)
    return make


def test_the_requests_of_agents_side_by_side_overlap(talkers: Callable[..., AgentDefinition]) -> None:
    asked: set[str] = set()

    def both(name: str) -> bool:
        """Only once the other one asks too: one after the other, neither would ever be answered."""
        asked.add(name)
        return len(asked) == 2

    one, two = (talkers(name, partial(both, name)) for name in ("one", "two"))

    @workflow.workflow("t.agents")
    def flow(run: Run, case: dict[str, Any]) -> list[str]:
        return run.gather(run.later(run.agent, one, "Hello"), run.later(two, "Hello"))

    run = start("t.agents")
    assert finish(run) == ["one answers", "two answers"]
    states = dict(run.steps.values_list("path", "state"))
    assert states == dict.fromkeys(("1", "1/model:1", "2", "2/model:1"), "succeeded")


def test_a_request_keeps_its_lease_while_others_commit(talkers: Callable[..., AgentDefinition]) -> None:
    left: list[float] = []
    asked = threading.Event()

    def done() -> bool:
        asked.set()
        return len(left) == 3

    slow = talkers("slow", done, request_seconds=500)

    @tool(effect="write", rollback="None")
    def put(number: int, *, key: IdempotencyKey) -> int:
        asked.wait(10)
        row = RunRow.objects.get()
        assert row.lease_until is not None
        left.append((row.lease_until - db_now()).total_seconds())
        return number

    def puts(run: Run) -> int:
        return sum(int(run.tool(put, number)) for number in range(3))

    @workflow.workflow("t.leases")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        return run.gather(run.later(slow, "Hello"), run.later(puts))

    assert finish(start("t.leases")) == ["slow answers", 3]
    assert min(left) > 490, left


def test_an_agent_that_lost_a_race_is_given_up(talkers: Callable[..., AgentDefinition]) -> None:
    never = talkers("never", lambda: False)

    @tool(effect="read")
    def look() -> str:
        return "here"

    @workflow.workflow("t.agent_race")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        return list(run.race(run.later(never, "Hello"), run.later(look)))

    run, began = start("t.agent_race"), time.monotonic()
    assert finish(run) == [1, "here"]
    assert time.monotonic() - began < 8, "the model was not waited for"
    assert set(run.steps.filter(path__startswith="1").values_list("state", flat=True)) <= {"cancelled"}


class TestABranchThatHadEnded:
    """Its code has changed meanwhile: nothing more is begun in it, nothing of it is passed over."""

    @pytest.fixture
    def looked(self) -> list[int]:
        return []

    def play(self, looked: list[int], before: int, after: int) -> RunRow:
        asked = [before]

        @tool(effect="read")
        def look(place: int) -> int:
            looked.append(place)
            return place

        def part(run: Run) -> int:
            return sum(run.tool(look, place) for place in range(asked[0]))

        @workflow.workflow("t.changed")
        def flow(run: Run, case: dict[str, Any]) -> list[int]:
            done = run.gather(run.later(part), run.later(part))
            run.sleep(60)
            return done

        run = start("t.changed")
        engine.advance(run.id, "wrk_a")
        asked[0] = after
        RunRow.objects.filter(pk=run.id).update(wake_at=run.created_at)
        services.wake_due(run.id)
        looked.clear()
        engine.advance(run.id, "wrk_b")
        run.refresh_from_db()
        return run

    @pytest.mark.parametrize(("before", "after"), [(2, 3), (2, 1)])
    def test_it_needs_attention(self, looked: list[int], before: int, after: int) -> None:
        run = self.play(looked, before, after)
        assert run.attention is not None
        assert run.attention["code"] == "diverged"
        assert looked == []

    def test_the_same_code_goes_on(self, looked: list[int]) -> None:
        run = self.play(looked, 2, 2)
        assert (run.state, looked) == ("waiting", [])
