"""A process dies before or after each commit of runs that end while nobody knows whether a write happened.

Whatever happened in the world is on record as having happened or as unknown, never as cancelled, also right
after the end; then a person settles it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runs import journal, services, timers, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
from tests.runs.dying import Death, World
from tests.runs.test_every_commit_of_each_kind import MOST_COMMITS, family, time_passes, turns
from tools import registry
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.failures import Refused, Transient
from tools.models import ToolCall

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("open_gate"),
]
ENDS = {
    "cancel": "cancelled",
    "clean": "cancelled",
    "race": "succeeded",
    "fail": "failed",
    "again": "succeeded",
}


@pytest.fixture
def stories(world: World, installed_tools: None) -> Iterator[None]:
    """The workflows, one for each way to end, as ``doubt.<way>``."""
    with registry.scratch():

        @registry.tool(effect="write", risk="low", name="doubt_put", rollback="None")
        def put(*, key: IdempotencyKey) -> str:
            """Done once a key; its answer never arrives."""
            if ("put", str(key)) not in world.lines():
                world.happen("put", key)
            raise Transient("the answer was lost")

        @registry.tool(effect="write", risk="low", name="doubt_clean", rollback="None")
        def clean(*, key: IdempotencyKey) -> str:
            if ("clean", str(key)) not in world.lines():
                world.happen("clean", key)
            return "clean"

        @registry.tool(effect="read", name="doubt_look")
        def look() -> str:
            return "look"

        @registry.tool(effect="read", name="doubt_refuse")
        def refuse() -> str:
            raise Refused("not today")

        def looks(run: Run) -> str:
            run.tool(look)
            return str(run.tool(look))

        def refused(run: Run) -> str:
            run.tool(look)
            return str(run.tool(refuse))

        @workflow.workflow("doubt.cancel")
        def cancel(run: Run, case: int) -> str:
            return str(run.tool(put))

        @workflow.workflow("doubt.clean", on_cancel=lambda run, case: run.tool(clean))
        def cleans(run: Run, case: int) -> str:
            return str(run.tool(put))

        @workflow.workflow("doubt.race")
        def race(run: Run, case: int) -> Any:
            place, _ = run.race(run.later(put), run.later(looks))
            return place

        @workflow.workflow("doubt.fail")
        def fail(run: Run, case: int) -> Any:
            return run.gather(run.later(put), run.later(refused))

        @workflow.workflow("doubt.again")
        def again(run: Run, case: int) -> Any:
            if case == 2:
                return "the last"
            run.race(run.later(put), run.later(looks))
            return run.restart(case + 1)

        yield


def live(kind: str, first: str) -> None:
    """All that happens to a run and its family until the last of them has ended."""
    for _ in turns():
        if kind in ("cancel", "clean"):
            give_up(first)
        time_passes()
        timers.sweep()


def give_up(run_id: str) -> None:
    """A person cancels a run that waits to try again, or needs attention."""
    if RunRow.objects.filter(pk=run_id, state__in=["waiting", "needs_attention"]).exists():
        services.cancel_run(run_id, actor="user:omar", reason="It takes too long.")


@pytest.mark.usefixtures("stories")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", list(ENDS))
def test_nothing_that_happened_is_ever_on_record_as_cancelled(
    kind: str, after: bool, world: World, record_property: Callable[[str, object], None]
) -> None:
    deaths, unknown = 0, 0
    for at in range(1, MOST_COMMITS):
        world.place.write_text("")
        first = services.start_run(f"doubt.{kind}", 1, actor="user:ana").pk
        died = Death(at, after=after).of(lambda first=first: live(kind, first))
        check_keys(first, world)
        live(kind, first)
        check_keys(first, world)
        unknown += check_end(first, kind)
        settle(first, world)
        check_settled(first, world)
        if not died:
            break
        deaths += 1
    assert not died, "every commit was tried, up to beyond the last one"
    record_property("deaths", deaths)
    assert deaths >= 4 and unknown == deaths + 1, "each of them ended with an outcome that nobody knew"


def check_keys(first: str, world: World) -> None:
    """At any moment: what happened is not on record as given up."""
    for _, key in world.lines():
        step = Step.objects.get(run_id__in=family(first), key=key)
        assert step.state not in ("cancelled", "failed", "refused"), (step.path, step.state)


def check_end(first: str, kind: str) -> int:
    """The run says how many of its outcomes are unknown; how many there are."""
    row = RunRow.objects.get(pk=first)
    assert row.state == ENDS[kind]
    told = row.journal.filter(kind__in=["run.succeeded", "run.restarted", "run.cancelled", "run.failed"])
    count = ToolCall.objects.unknown().filter(run_id=first).count()
    assert told.get().content["unknown"] == count
    assert row.journal.filter(kind="call.unknown").count() == count
    assert not row.steps.filter(state__in=["started", "waiting", "held"]).exists()
    return count


def settle(first: str, world: World) -> None:
    for call in ToolCall.objects.unknown().filter(run_id__in=family(first)):
        happened = ("put", call.key) in world.lines()
        outcome, result = ("happened", "put") if happened else ("did_not_happen", None)
        ToolCall.objects.filter(pk=call.pk).update(not_before="2020-01-01T00:00:00+00:00")
        calls.settle(call.pk, outcome, result, note="Looked.", by="user:bea")


def check_settled(first: str, world: World) -> None:
    for row in RunRow.objects.filter(pk__in=family(first)):
        assert list(journal.verify(row, row.journal.order_by("seq"))) == []
        assert not ToolCall.objects.filter(run_id=row.pk, state__in=["started", "unknown"]).exists()
        for step in row.steps.filter(name="doubt_put"):
            happened = ("put", step.key) in world.lines()
            assert step.state == ("succeeded" if happened else "cancelled")
