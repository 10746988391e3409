"""A process dies before or after each commit of gathers, branches, races, children, messages and restarts.

Everything that happens to a run in its life (turns, people, caretakers) happens in one process, which dies at
commit number n; another one goes on from what is on record. Judged by a ledger outside the database.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from approvals import services as approvals
from approvals.models import Approval
from runs import engine, journal, services, timers, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
from tests.runs.dying import Death, World
from tools import registry
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.models import ToolCall

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
ROUNDS = 30
MOST_COMMITS = 80


@dataclass
class Story:
    """A workflow, how it must end, and what must have been done to the world, once each."""

    output: Any
    effects: dict[str, int]
    runs: int = 1
    decided: bool = True
    message: bool = False
    asked: dict[str, int] = field(default_factory=dict)


STORIES = {
    "tools": Story(["look", "a", "b", "look"], {"a": 1, "b": 1}),
    "branches": Story([["a", "look", "b"], ["c", "look", "d"], "e"], dict.fromkeys("abcde", 1)),
    "race": Story([1, "won"], {"won": 1, "after": 1}, decided=False, asked={"withdrawn": 1}),
    "child": Story(["a", "child: launch", "b"], {"a": 1, "launch": 1, "b": 1}, 2, asked={"approved": 1}),
    "children": Story(["a", "b", "c"], {"a": 1, "b": 1, "c": 1}, 4),
    "message": Story(["a", "go", "b"], {"a": 1, "b": 1}, message=True),
    "restart": Story("rest", {"turn-1": 1, "turn-2": 1, "rest": 1}, 3),
}


@pytest.fixture
def stories(world: World, installed_tools: None) -> Iterator[None]:
    """The workflows, one for each kind of step, as ``story.<kind>``."""
    with registry.scratch():

        @registry.tool(effect="read", name="story_look")
        def look() -> str:
            return "look"

        @registry.tool(effect="write", risk="low", name="story_put", rollback="None")
        def put(what: str, *, key: IdempotencyKey) -> str:
            """The other side knows the key, and does it once."""
            if (what, str(key)) not in world.lines():
                world.happen(what, key)
            return what

        @registry.tool(effect="irreversible", risk="high", name="story_launch", rollback="None")
        def launch(*, key: IdempotencyKey) -> str:
            world.happen("launch", key)
            return "launch"

        def pair(run: Run, one: str, two: str) -> list[str]:
            return [run.tool(put, one), run.tool(look), run.tool(put, two)]

        def slow(run: Run) -> str:
            run.sleep(3600)
            return str(run.tool(put, "won"))

        @workflow.workflow("story.tools")
        def tools(run: Run, case: int) -> list[str]:
            done = run.gather(run.later(look), run.later(put, "a"), run.later(put, "b"))
            return [*done, run.tool(look)]

        @workflow.workflow("story.branches")
        def branches(run: Run, case: int) -> list[Any]:
            done = run.gather(run.later(pair, "a", "b"), run.later(pair, "c", "d"))
            return [*done, run.tool(put, "e")]

        @workflow.workflow("story.race")
        def race(run: Run, case: int) -> list[Any]:
            place, said = run.race(run.later(launch), run.later(slow))
            run.tool(put, "after")
            return [place, said]

        @workflow.workflow("story.launching")
        def launching(run: Run, case: str) -> str:
            return f"{case}: {run.tool(launch)}"

        @workflow.workflow("story.child")
        def child(run: Run, case: int) -> list[str]:
            return [run.tool(put, "a"), run.child(launching, "child"), run.tool(put, "b")]

        @workflow.workflow("story.putting")
        def putting(run: Run, case: str) -> str:
            return str(run.tool(put, case))

        @workflow.workflow("story.children")
        def children(run: Run, case: int) -> list[str]:
            return run.gather(*(run.later(run.child, putting, what) for what in "abc"))

        @workflow.workflow("story.message")
        def message(run: Run, case: int) -> list[str]:
            return [run.tool(put, "a"), run.wait_for("go", str), run.tool(put, "b")]

        @workflow.workflow("story.restart")
        def restart(run: Run, case: int) -> str:
            if case == 3:
                return str(run.tool(put, "rest"))
            run.tool(put, f"turn-{case}")
            return run.restart(case + 1)

        yield


@pytest.fixture
def bea() -> User:
    person = User.objects.create_user("bea", password="x")
    person.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    return person


# Living


def live(first: str, story: Story, bea: User, world: World) -> None:
    """All that happens to a run and its family until the last of them has ended."""
    for _ in turns():
        time_passes()
        timers.sweep()
        if story.decided:
            decide(bea)
        settle(world)
        if story.message:
            send(first)


def turns() -> Iterator[None]:
    """Rounds in which every open run had its turn, until the last of them has ended."""
    for _ in range(ROUNDS):
        if not open_runs().exists():
            return
        for row in open_runs():
            take_over(row)
            engine.advance(row.pk, f"wrk_{os.getpid()}")
        yield
    stuck = [(row.workflow, row.state, row.waiting_for, row.attention) for row in open_runs()]
    raise AssertionError(f"it is stuck: {stuck}")


def open_runs() -> Any:
    return RunRow.objects.exclude(state__in=["succeeded", "failed", "cancelled"]).order_by("created_at", "id")


def take_over(row: RunRow) -> None:
    """What a caretaker does once the process is gone for certain."""
    if row.lease_owner not in ("", f"wrk_{os.getpid()}"):
        services.rescue_run(row.pk, row.lease_epoch, reason="it died", died=True, proven=True, alone=False)


def time_passes() -> None:
    """Whatever has a time has come to it."""
    past = "2020-01-01T00:00:00+00:00"
    Step.objects.exclude(not_before=None).update(not_before=past)
    ToolCall.objects.exclude(not_before=None).update(not_before=past)
    Step.objects.filter(state="waiting").exclude(due_at=None).update(due_at=past)
    RunRow.objects.filter(state="waiting").exclude(wake_at=None).update(wake_at=past)


def decide(bea: User) -> None:
    for asked in Approval.objects.filter(state="pending"):
        approvals.decide(asked.pk, by=bea, verdict="approve", digest=asked.digest)


def settle(world: World) -> None:
    """A person looks whether it happened, and says so."""
    for call in ToolCall.objects.filter(state="unknown"):
        happened = ("launch", call.key) in world.lines()
        outcome, result = ("happened", "launch") if happened else ("did_not_happen", None)
        calls.settle(call.pk, outcome, result, note="Looked.", by="user:bea")


def send(run_id: str) -> None:
    if RunRow.objects.filter(pk=run_id, state="waiting").exists():
        services.send_message(run_id, "go", "go", actor="user:ana", key="the one")


@pytest.mark.usefixtures("stories")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", list(STORIES))
def test_it_ends_the_same_wherever_its_process_died(
    kind: str, after: bool, bea: User, world: World, record_property: Callable[[str, object], None]
) -> None:
    story, deaths, in_flight = STORIES[kind], 0, 0
    for at in range(1, MOST_COMMITS):
        world.place.write_text("")
        first = services.start_run(f"story.{kind}", 1, actor="user:ana").pk
        died = Death(at, after=after).of(lambda first=first: live(first, story, bea, world))
        lost = ToolCall.objects.filter(run_id__in=family(first), state="started")
        in_flight += lost.filter(effect__in=["write", "irreversible"]).count()
        live(first, story, bea, world)
        check(first, story, world)
        if not died:
            break
        deaths += 1
    assert not died, "every commit was tried, up to beyond the last one"
    record_property("deaths", deaths)
    record_property("calls in flight", in_flight)
    assert deaths >= 5 and in_flight >= 2, "the fault was there"


def check(first: str, story: Story, world: World) -> None:
    rows = list(RunRow.objects.filter(pk__in=family(first)).order_by("created_at"))
    assert len(rows) == story.runs, [(row.workflow, row.state) for row in rows]
    for row in rows:
        assert row.state == "succeeded", (row.workflow, row.output)
        assert list(journal.verify(row, row.journal.order_by("seq"))) == []
        ended = row.journal.filter(kind="call.succeeded").values_list("step_id", flat=True)
        assert len(ended) == len(set(ended)), "a step succeeded twice"
        assert row.to_tell == "", "whoever waited was told"
    assert last_of(first).output == story.output
    assert world.count() == story.effects, world.lines()
    assert not ToolCall.objects.filter(state__in=["started", "unknown"]).exists()
    assert not Step.objects.filter(state__in=["started", "waiting", "held", "unknown"]).exists()
    asked = Approval.objects.filter(run__in=family(first)).values_list("state", flat=True)
    assert Counter(asked) == Counter(story.asked)


def family(first: str) -> list[str]:
    """The run, what it restarted as, and their children."""
    born = RunRow.objects.values_list("created_at", flat=True).get(pk=first)
    return list(RunRow.objects.filter(created_at__gte=born).values_list("id", flat=True))


def last_of(run_id: str) -> RunRow:
    """What the run became in the end."""
    row = RunRow.objects.get(pk=run_id)
    return last_of(row.continued_by) if row.continued_by else row
