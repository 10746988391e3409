"""Branches of a run side by side: their results, their waits, their failures, and replay."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from runs import engine, services, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
from tools.contract import IdempotencyKey
from tools.failures import Refused
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
