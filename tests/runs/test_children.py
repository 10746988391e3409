"""Child runs: begun once, waited for or not, told to the parent, and given up with it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from runs import endings, engine, journal, services, timers, workflow
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.steps.child import ChildCancelled, ChildFailed
from tools.contract import IdempotencyKey
from tools.failures import Refused
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


class Ship(BaseModel):
    """What a child returns."""

    name: str
    tons: int


@pytest.fixture
def build() -> Any:
    """A workflow that builds a ship, fails, or waits."""

    @workflow.workflow("t.build")
    def build(run: Run, name: str) -> Ship:
        if name == "sunk":
            raise RuntimeError("it sank")
        if name == "slow":
            run.sleep(3600)
        return Ship(name=name, tons=len(name))

    return build


def start(name: str, value: Any = None) -> RunRow:
    return services.start_run(name, value or {}, actor="user:ana")


def advance(run: RunRow) -> Outcome:
    return engine.advance(run.id, "wrk_a")


def child_of(run: RunRow) -> RunRow:
    return RunRow.objects.get(parent_id=run.id)


def fresh(run: RunRow) -> RunRow:
    return RunRow.objects.get(pk=run.pk)


def to_the_end(run: RunRow) -> RunRow:
    """All runs there are, turn by turn."""
    for _ in range(20):
        for row in RunRow.objects.filter(state__in=["queued", "cancelling"]):
            advance(row)
        if fresh(run).ended:
            row = fresh(run)
            assert list(journal.verify(row, row.journal.order_by("seq"))) == []
            return row
    raise AssertionError(f"it is stuck: {fresh(run).state} {fresh(run).waiting_for}")


def test_it_works(build: Any) -> None:
    @workflow.workflow("t.order")
    def order(run: Run, case: dict[str, Any]) -> str:
        ship = run.child(build, "titan", intent="For the fleet")
        assert isinstance(ship, Ship)
        return f"{ship.name} {ship.tons}"

    run = start("t.order")
    assert advance(run) is Outcome.WAITING
    child = child_of(run)
    assert fresh(run).waiting_for == "child run t.build"
    assert (child.requester, child.source, child.intent) == ("user:ana", "run", "For the fleet")
    assert (child.to_tell, child.parent_step) == (run.id, run.steps.get().id)
    first = child.journal.get(seq=1)
    assert (first.kind, first.content["parent"]) == ("run.started", run.id)
    assert advance(child) is Outcome.ENDED
    assert (fresh(run).state, fresh(child).to_tell) == ("queued", "")
    assert to_the_end(run).output == "titan 5"
    assert [step.kind for step in run.steps.all()] == ["child"]
    assert [entry.kind for entry in run.journal.filter(kind__startswith="child.")] == [
        "child.started",
        "child.succeeded",
    ]


def test_a_child_by_name_that_is_not_waited_for(build: Any) -> None:
    @workflow.workflow("t.launch_and_forget")
    def order(run: Run, case: dict[str, Any]) -> str:
        return str(run.child("t.build", "slow", wait=False))

    run = start("t.launch_and_forget")
    assert advance(run) is Outcome.ENDED
    child = child_of(run)
    assert fresh(run).output == child.id
    assert child.to_tell == ""
    timers.sweep()
    assert advance(child) is Outcome.WAITING, "the end of its parent leaves it alone"


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_how_a_child_ended_is_told_with_the_run_and_why(build: Any, how: str) -> None:
    seen: list[ChildFailed] = []

    @workflow.workflow("t.careful")
    def order(run: Run, case: dict[str, Any]) -> str:
        try:
            run.child(build, "sunk" if how == "fails" else "slow")
        except ChildFailed as child:
            seen.append(child)
            return type(child).__name__
        return "no"

    run = start("t.careful")
    advance(run)
    child = child_of(run)
    if how == "is cancelled":
        services.cancel_run(child.id, actor="user:omar", reason="not needed")
    row = to_the_end(run)
    assert row.output == ("ChildFailed" if how == "fails" else "ChildCancelled")
    assert (seen[0].run_id, seen[0].workflow) == (child.id, "t.build")
    assert seen[0].reason == ("it sank" if how == "fails" else "not needed")
    assert isinstance(seen[0], ChildCancelled) is (how != "fails")


def test_children_side_by_side_are_written_in_one_transaction(build: Any) -> None:
    @workflow.workflow("t.fleet")
    def order(run: Run, case: dict[str, Any]) -> int:
        ships = run.gather(*(run.later(run.child, build, f"ship {place}") for place in range(5)))
        return sum(ship.tons for ship in ships)

    run = start("t.fleet")
    assert advance(run) is Outcome.WAITING
    children = RunRow.objects.filter(parent_id=run.id)
    assert children.count() == 5
    heads = run.journal.filter(kind="child.started").values_list("at", flat=True)
    assert len(heads) == 5 and len(set(heads)) == 1, "one commit"
    assert to_the_end(run).output == 30


def test_the_parent_is_told_by_a_caretaker_when_the_process_died_in_between(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow.workflow("t.order")
    def order(run: Run, case: dict[str, Any]) -> int:
        return int(run.child(build, "titan").tons)

    run = start("t.order")
    advance(run)
    monkeypatch.setattr(endings, "_listeners", {})
    advance(child_of(run))
    assert fresh(run).state == "waiting"
    assert services.untold(10) == [child_of(run).id]
    timers.sweep()
    assert fresh(run).state == "queued"
    assert services.untold(10) == []
    assert not services.tell_parent(child_of(run).id), "told once"


def test_an_end_that_comes_while_the_parent_works_is_not_lost(build: Any) -> None:
    """The child ends between the parent's commits: the parent must not go to wait for it."""
    ended: list[str] = []

    @tool(effect="write", title="Put")
    def put(*, key: IdempotencyKey) -> int:
        if not ended:
            ended.append(RunRow.objects.get(workflow="t.build").id)
            assert engine.advance(ended[0], "wrk_b") is Outcome.ENDED
        return 1

    @workflow.workflow("t.busy")
    def order(run: Run, case: dict[str, Any]) -> int:
        ship, done = run.gather(run.later(run.child, build, "titan"), run.later(put))
        return int(ship.tons + done)

    run = start("t.busy")
    assert advance(run) is Outcome.ENDED
    assert ended and fresh(run).output == 6


def test_cancelling_a_parent_cancels_the_children_it_waits_for(build: Any) -> None:
    @workflow.workflow("t.middle")
    def middle(run: Run, case: str) -> int:
        return int(run.child(build, case).tons)

    @workflow.workflow("t.top")
    def top(run: Run, case: dict[str, Any]) -> int:
        run.child(build, "slow", wait=False)
        return int(run.child(middle, "slow"))

    run = start("t.top")
    advance(run)
    for row in RunRow.objects.filter(state="queued"):
        advance(row)
    for row in RunRow.objects.filter(state="queued"):
        advance(row)
    services.cancel_run(run.id, actor="user:omar", reason="wrong fleet")
    timers.sweep()
    states = {
        (row.workflow, row.to_tell != "" or row.parent_step != "", row.state) for row in RunRow.objects.all()
    }
    assert ("t.top", False, "cancelled") in states and ("t.middle", True, "cancelled") in states
    by_parent = {row.parent_id: row for row in RunRow.objects.filter(workflow="t.build")}
    assert by_parent[run.id].state == "waiting", "not waited for: left alone"
    middle_run = RunRow.objects.get(workflow="t.middle")
    assert by_parent[middle_run.id].state == "cancelled"
    assert "wrong fleet" in middle_run.stop_reason
    assert services.given_up(10) == [] and services.untold(10) == []


def test_children_are_cancelled_by_a_caretaker_when_the_process_died(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow.workflow("t.order")
    def order(run: Run, case: dict[str, Any]) -> int:
        return int(run.child(build, "slow").tons)

    run = start("t.order")
    advance(run)
    advance(child_of(run))
    monkeypatch.setattr(endings, "_listeners", {})
    services.cancel_run(run.id, actor="user:omar", reason="wrong fleet")
    assert child_of(run).state == "waiting"
    assert len(services.given_up(10)) == 1
    timers.sweep()
    assert child_of(run).state == "cancelled"
    timers.sweep()
    assert services.given_up(10) == [] and services.untold(10) == []


def test_a_lost_branch_cancels_its_child(build: Any) -> None:
    @tool(effect="read")
    def refuse() -> int:
        raise Refused("not today")

    @workflow.workflow("t.lost")
    def order(run: Run, case: dict[str, Any]) -> str:
        try:
            run.gather(run.later(run.child, build, "slow"), run.later(refuse))
        except Refused:
            run.sleep(0)
            return "told"
        return "no"

    run = start("t.lost")
    assert advance(run) is Outcome.ENDED
    timers.sweep()
    assert fresh(run).output == "told"
    gone = RunRow.objects.filter(parent_id=run.id).exclude(state="cancelled")
    assert not gone.exists()


def test_input_that_does_not_fit_starts_nothing(build: Any) -> None:
    @workflow.workflow("t.wrong")
    def order(run: Run, case: dict[str, Any]) -> str:
        for what, value in ((build, 7), ("t.nothing", {}), (len, {})):
            try:
                run.child(what, value)
            except (ValueError, LookupError, TypeError) as error:
                case[type(error).__name__] = 1
        return " ".join(sorted(case))

    run = start("t.wrong")
    assert to_the_end(run).output == "InvalidInput TypeError UnknownWorkflow"
    assert not RunRow.objects.filter(parent_id=run.id).exists()


def test_a_key_that_is_taken_starts_no_second_child(build: Any) -> None:
    @workflow.workflow("t.keyed")
    def order(run: Run, case: dict[str, Any]) -> str:
        try:
            return str(run.child(build, "titan", key="hull 1").tons)
        except ChildFailed as error:
            return f"{error.run_id} {error.reason}"

    one = start("t.keyed")
    assert to_the_end(one).output == "5"
    holder = child_of(one).id
    two = start("t.keyed")
    assert to_the_end(two).output == f"{holder} t.build was started for key hull 1 already: {holder}"


def test_a_failed_child_that_a_person_has_tried_again_is_another_run(build: Any, monkeypatch: Any) -> None:
    @workflow.workflow("t.order")
    def order(run: Run, case: dict[str, Any]) -> str:
        return str(run.child(build, "sunk").name)

    run = start("t.order")
    assert to_the_end(run).state == "failed"
    services.retry_run(run.id, actor="user:omar", reason="the sea is calm")
    assert to_the_end(run).state == "failed"
    assert RunRow.objects.filter(parent_id=run.id).count() == 2


# Restarting


@pytest.fixture
def count() -> str:
    @workflow.workflow("t.count")
    def count(run: Run, number: int) -> int:
        run.now()
        if number < 3:
            run.restart(number + 1)
        return number

    return "t.count"


def test_a_restart_goes_on_as_a_fresh_run_with_the_same_key(count: str) -> None:
    run = services.start_run(count, 1, actor="user:ana", key="the count", intent="Count")
    assert advance(run) is Outcome.ENDED
    chain = [fresh(run)]
    while chain[-1].continued_by:
        nxt = RunRow.objects.get(pk=chain[-1].continued_by)
        advance(nxt)
        chain.append(fresh(nxt))
    assert [row.state for row in chain] == ["succeeded"] * 3
    assert chain[0].output == {"continued_as": chain[1].id}
    assert [row.output for row in chain][2] == 3
    assert [row.continued_from for row in chain] == ["", chain[0].id, chain[1].id]
    assert {(row.key, row.requester, row.intent) for row in chain} == {("the count", "user:ana", "Count")}
    assert [row.steps.count() for row in chain] == [1, 1, 1]
    assert [bool(row.once) for row in chain] == [False, False, True]


def test_a_parent_gets_the_result_of_the_last_one(count: str) -> None:
    @workflow.workflow("t.over")
    def over(run: Run, case: dict[str, Any]) -> int:
        return int(run.child(count, 1))

    run = start("t.over")
    assert to_the_end(run).output == 3
    assert RunRow.objects.filter(parent_id=run.id).count() == 3


def test_cancelling_a_parent_cancels_what_its_child_restarted_as(count: str) -> None:
    @workflow.workflow("t.over")
    def over(run: Run, case: dict[str, Any]) -> int:
        return int(run.child(count, 1))

    run = start("t.over")
    advance(run)
    advance(child_of(run))
    services.cancel_run(run.id, actor="user:omar", reason="enough")
    states = RunRow.objects.filter(parent_id=run.id).values_list("state", flat=True)
    assert sorted(states) == ["cancelled", "succeeded"]


def test_a_restart_leaves_out_nothing_that_is_on_record() -> None:
    @workflow.workflow("t.again")
    def flow(run: Run, number: int) -> None:
        run.now()
        run.sleep(3600)

    run = start("t.again", 1)
    advance(run)
    del workflow._registry[("t.again", 1)]

    @workflow.workflow("t.again")
    def changed(run: Run, number: int) -> None:
        run.restart(number + 1)

    services.pause_run(run.id, actor="user:omar", reason="a deploy")
    services.resume_run(run.id, actor="user:omar", reason="deployed")
    advance(run)
    assert (fresh(run).state, fresh(run).attention["code"]) == ("needs_attention", "diverged")
    assert not RunRow.objects.filter(continued_from=run.id).exists()


def test_only_the_main_line_restarts() -> None:
    def inside(run: Run) -> None:
        run.restart({})

    @workflow.workflow("t.branchy")
    def branchy(run: Run, case: dict[str, Any]) -> list[str]:
        ends = run.gather(run.later(inside), run.later(run.restart, {}), return_failures=True)
        return [str(end) for end in ends]

    row = to_the_end(start("t.branchy"))
    assert ["the workflow's own run" in said for said in row.output] == [True, True]
    assert row.continued_by == ""


def test_a_restart_with_an_input_that_does_not_fit_is_an_error(count: str) -> None:
    @workflow.workflow("t.misfit")
    def misfit(run: Run, number: int) -> int:
        run.restart("many")

    row = to_the_end(start("t.misfit", 1))
    assert (row.state, row.output["error"]["type"]) == ("failed", "InvalidInput")
