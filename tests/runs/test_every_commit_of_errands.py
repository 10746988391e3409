"""The process of a turn and the process of an errand's body die at each of their commits: the same end.

Turns run in processes of their own, and so do the bodies; each registers as a worker, so that the caretakers
find for themselves who is gone. Judged by a ledger outside the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from runs import engine, journal, services, timers, workflow
from runs.context import Run
from runs.crew import workers
from runs.errands import performing
from runs.models import Errand, JournalEntry, Step
from runs.models import Run as RunRow
from tests.runs.dying import Death, World
from tools import registry
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.models import CallState, ToolCall

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("open_gate"),
]
QUEUE = "payments"
ROUNDS = 20
MOST_COMMITS = 40
ERRANDS = 4
#: A worker commits twice for an errand: it takes it, and it answers it.
BODY_COMMITS = 2 * ERRANDS
OUTPUT = ["seen a", "put b", "put c", "launched", "seen d"]
EFFECTS = {"put b": 1, "put c": 1, "launched": 1}


@pytest.fixture
def errands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read, two writes side by side and what cannot be undone, each on another queue; and a read here."""

    @registry.tool(effect="read", name="see", queue=QUEUE)
    def see(what: str) -> str:
        return f"seen {what}"

    @registry.tool(effect="read", name="look")
    def look(what: str) -> str:
        return f"seen {what}"

    @registry.tool(effect="write", risk="low", name="put", rollback="None", queue=QUEUE)
    def put(what: str, *, key: IdempotencyKey) -> str:
        """The other side knows the key, and does it once."""
        world.happen(f"asked to put {what}", key)
        if (f"put {what}", str(key)) not in world.lines():
            world.happen(f"put {what}", key)
        return f"put {what}"

    @registry.tool(effect="irreversible", risk="high", name="launch", rollback="None", queue=QUEUE)
    def launch(*, key: IdempotencyKey) -> str:
        world.happen("asked to launch", key)
        return world.happen("launched", key)

    @workflow.workflow("test.errands")
    def errands(run: Run, case: int) -> list[str]:
        seen = run.tool(see, "a")
        both = run.gather(run.later(put, "b"), run.later(put, "c"))
        return [seen, *both, run.tool(launch), run.tool(look, "d")]

    monkeypatch.setattr("runs.messages._send", lambda *sent: True)


class Deaths(Death):
    """Workers in processes of their own, one of which dies."""

    died = 0

    def of_worker(self, work: Callable[[str], object]) -> None:
        """`work`, given the id of its worker, which is known to the others before anything counts."""
        self.died += self.of(lambda: work(workers.this_worker().id), before=workers.this_worker)


def never() -> Deaths:
    return Deaths(0, after=False)


# Living


def live(run: RunRow, turns: Deaths, bodies: Deaths, world: World) -> RunRow:
    """The run to its end, with caretakers and a person doing their part."""
    for _ in range(ROUNDS):
        turns.of_worker(lambda worker: engine.advance(run.pk, worker))
        timers.rescue_lost_runs()
        for call_id in Errand.objects.filter(state="waiting").order_by("pk").values_list("pk", flat=True):
            bodies.of_worker(lambda worker, call_id=call_id: performing.perform(call_id, worker))
        timers.find_lost_errands()
        time_passes()
        settle(world)
        row = RunRow.objects.get(pk=run.pk)
        assert list(journal.verify(row, row.journal.order_by("seq"))) == []
        if row.ended:
            return row
    raise AssertionError(f"it is stuck: {row.state} {row.waiting_for} {row.attention}")


def time_passes() -> None:
    """Nothing that was lost can arrive any more."""
    past = "2020-01-01T00:00:00+00:00"
    # Leases stay: one that is over would say that a living worker is late.
    Step.objects.exclude(not_before=None).update(not_before=past)
    ToolCall.objects.exclude(not_before=None).update(not_before=past)
    RunRow.objects.filter(state="waiting").exclude(wake_at=None).update(wake_at=past)
    timers.wake_due_runs()


def settle(world: World) -> None:
    """A person looks whether it happened, and says so."""
    for call in ToolCall.objects.filter(state=CallState.UNKNOWN):
        happened = ("launched", call.key) in world.lines()
        outcome, result = ("happened", "launched") if happened else ("did_not_happen", None)
        calls.settle(call.pk, outcome, result, note="Looked.", by="user:bea")


@dataclass
class Told:
    """What one trial came to: how many died, and how often somebody else took over."""

    turns: int
    bodies: int
    rescued: int
    lost: int
    asked: int


def trial(world: World, turns: Deaths, bodies: Deaths) -> Told:
    world.place.write_text("")
    run = live(services.start_run("test.errands", 1, actor="user:ana"), turns, bodies, world)
    check(run, world)
    said = Counter(JournalEntry.objects.filter(run=run).values_list("kind", flat=True))
    arrived = sum(world.count("asked").values())
    return Told(turns.died, bodies.died, said["run.rescued"], said["errand.lost"], arrived)


def check(run: RunRow, world: World) -> None:
    assert (run.state, run.output, run.crashes) == ("succeeded", OUTPUT, 0)
    done = world.count("put") + world.count("launched")
    assert done == EFFECTS, world.lines()
    assert len({key for what, key in world.lines() if what.endswith("put b")}) == 1, (
        "one key for all attempts"
    )
    ended = run.journal.filter(kind="call.succeeded").values_list("step_id", flat=True)
    assert len(ended) == len(set(ended)), "a step succeeded twice"
    assert not run.journal.filter(kind="call.late").exists(), "the dead do not answer"
    assert not Errand.objects.filter(run_id=run.pk, state__in=["waiting", "taken", "done"]).exists()
    assert not ToolCall.objects.filter(run_id=run.pk, state__in=["started", "unknown"]).exists()
    assert set(Step.objects.filter(run=run).values_list("state", flat=True)) == {"succeeded"}


@pytest.mark.usefixtures("errands")
class TestEveryCommit:
    """Before or after it, of the turns, of the bodies, and of both."""

    def test_nobody_dies(self, world: World) -> None:
        assert trial(world, never(), never()) == Told(0, 0, 0, 0, asked=3)

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_the_process_of_the_turn(
        self, world: World, after: bool, record_property: Callable[[str, object], None]
    ) -> None:
        told = []
        for at in range(1, MOST_COMMITS):
            told.append(trial(world, Deaths(at, after=after), never()))
            if not told[-1].turns:
                break
        else:
            raise AssertionError("every commit was to be tried, up to beyond the last one")
        deaths, rescues = sum(one.turns for one in told), sum(one.rescued for one in told)
        record_property("deaths of turns", deaths)
        record_property("runs taken over", rescues)
        assert deaths == len(told) - 1 >= 10, "the fault was there"
        assert sum(one.lost for one in told) == 0, "no body was lost with a turn"
        assert {one.asked for one in told} == {3}, "and none was begun a second time"
        # With a claim in hand. Before the first commit it has none, and after one that gives the run back.
        assert rescues >= deaths / 2

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_the_process_of_the_body(
        self, world: World, after: bool, record_property: Callable[[str, object], None]
    ) -> None:
        told = [trial(world, never(), Deaths(at, after=after)) for at in range(1, BODY_COMMITS + 3)]
        deaths = [one.bodies for one in told]
        assert deaths == [1] * BODY_COMMITS + [0] * 2, "every commit was tried, up to beyond the last one"
        # Before it took the errand, or once it has answered, its death is nobody's loss.
        losses = [int(number % 2 == (0 if after else 1)) for number in range(BODY_COMMITS)] + [0] * 2
        assert [one.lost for one in told] == losses
        assert sum(losses) == ERRANDS
        assert sum(one.rescued for one in told) == 0, "the run's own worker was not held for it"
        # Two writes had arrived when their worker died before it could answer; the launch was not sent again.
        again = [one.asked - 3 for one in told]
        assert sum(again) == (0 if after else 2), again
        record_property("deaths of bodies", sum(deaths))
        record_property("errands lost and given to another", sum(losses))

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_both(self, world: World, after: bool, record_property: Callable[[str, object], None]) -> None:
        """Each commit of the turn with some of the bodies, and each of theirs with some of the turn."""
        told = [
            trial(world, Deaths(turn, after=after), Deaths(body, after=after))
            for turn in range(1, 12)
            for body in range(1, BODY_COMMITS + 1)
            if (turn + body) % 4 == 0
        ]
        deaths = sum(one.turns + one.bodies for one in told)
        taken_over = sum(one.rescued + one.lost for one in told)
        record_property("trials", len(told))
        record_property("deaths", deaths)
        record_property("taken over", taken_over)
        assert all(one.turns and one.bodies for one in told), "both died"
        assert sum(one.lost for one in told) >= len(told) / 3
        assert sum(one.rescued for one in told) >= len(told) / 3
