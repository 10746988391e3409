"""Every effect by every way to fail by every moment of death, judged by the ledger's own file.

A process begins a call of one of four effects; the ledger behaves in one of its ways; the process dies at one
of five moments, or not at all. Others go on from what is on record, and a person says what became of a call
where nobody else can. How it must end is in `table.TABLE`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from runs import engine, journal, services, timers
from runs.models import Run as RunRow
from tests.ledger.judge import Ledger
from tests.ledger.moments import Life, Moment
from tests.ledger.server import WAYS
from tests.ledger.table import CLASSES, TABLE
from tests.runs.test_every_commit_of_each_kind import decide, take_over, time_passes
from tools import services as calls
from tools.failures import FailureClass
from tools.models import ToolCall

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
ROUNDS = 12
#: What a person lets it try again who finds that it did not happen.
MAY_PASS = (FailureClass.TRANSIENT, FailureClass.RATE_LIMITED, FailureClass.UNKNOWN_OUTCOME)
#: Whether the intent is on record, the ledger was asked, and the result is on record, at each death.
TRACES = {
    Moment.BEFORE_INTENT: (False, False, False),
    Moment.AFTER_INTENT: (True, False, False),
    Moment.IN_FLIGHT: (True, True, False),
    Moment.AFTER_EFFECT: (True, True, False),
    Moment.AFTER_RESULT: (True, True, True),
}
LOST = [moment for moment in TRACES if moment is not Moment.AFTER_RESULT]


class Play:
    """One case: a run, what happens to it until it ends, and what is on record of it."""

    def __init__(self, tool: str, plan: str, moment: Moment, ledger: Ledger, bea: User) -> None:
        self.case = f"{tool}, {plan}, {moment}"
        self.tool, self.moment, self.ledger, self.bea = tool, moment, ledger, bea
        value = {"case": self.case, "plan": plan}
        self.run_id = services.start_run(f"ledger_{tool}", value, actor="user:ana").pk

    def row(self) -> RunRow:
        return RunRow.objects.get(pk=self.run_id)

    def calls(self) -> list[ToolCall]:
        return list(ToolCall.objects.filter(run_id=self.run_id).order_by("attempt"))

    def live(self) -> None:
        """Turns, time and people, until it has ended."""
        for _ in range(ROUNDS):
            row = self.row()
            if row.ended:
                return
            take_over(row)
            engine.advance(row.pk, f"wrk_{os.getpid()}")
            time_passes()
            timers.wake_due_runs()
            decide(self.bea)
            self.settle()
        row = self.row()
        raise AssertionError(f"it is stuck: {row.state} {row.waiting_for} {row.attention}")

    def settle(self) -> None:
        """A person looks in the ledger whether it happened, and says so.

        One who is asked again, about a call that would fail again, has had enough: the run is cancelled.
        """
        for call in self.calls():
            if call.state != "unknown":
                continue
            done = self.ledger.done(call.key)
            if not done and self.asked() and FailureClass(call.failure_class) not in MAY_PASS:
                services.cancel_run(self.run_id, actor="user:omar", reason="It fails again and again.")
            outcome, result = ("happened", {"what": self.case}) if done else ("did_not_happen", None)
            calls.settle(call.pk, outcome, result, note="Looked.", by="user:bea")

    def asked(self) -> int:
        """How often a person had to say what became of a call."""
        return sum(call.settled_by == "user:bea" for call in self.calls())

    def trace(self) -> tuple[bool, bool, bool]:
        first = next(iter(self.calls()), None)
        asked = bool(self.ledger.lines("asked", case=self.case))
        return first is not None, asked, first is not None and first.state != "started"

    def outcome(self) -> str:
        """How it ended, and how often a person had to say what became of a call."""
        row, asked = self.row(), self.asked()
        assert row.state in ("succeeded", "cancelled"), (row.state, row.output)
        said = str(row.output) if row.state == "succeeded" else "cancelled"
        return f"{said} {asked}" if asked else said


# The table


@pytest.mark.parametrize(("plan", "tool"), list(TABLE))
def test_it_ends_by_its_route_whenever_its_process_died(
    plan: str, tool: str, trading: Ledger, bea: User, record_property: Callable[[str, object], None]
) -> None:
    whole, life = Play(tool, plan, Moment.NEVER, trading, bea), Life()
    life.of_run(whole.run_id, whole.live)
    judge(whole)
    ended = {Moment.NEVER: whole.outcome()}
    deaths = takeovers = 0
    for moment, trace in TRACES.items():
        play = Play(tool, plan, moment, trading, bea)
        deaths += life.death(moment).of(play.live)
        assert play.trace() == trace, f"it did not die {moment}"
        takeovers += moment in LOST and play.row().lease_owner != ""
        play.live()
        judge(play)
        ended[moment] = play.outcome()
    record_property("deaths", deaths)
    record_property("takeovers", takeovers)
    assert (deaths, takeovers) == (len(TRACES), len(LOST)), "the fault was there"
    said = f"failed {CLASSES[plan]}"
    assert {moment: end.replace(said, "fails") for moment, end in ended.items()} == TABLE[plan, tool]
    if tool == "read":
        assert whole.calls()[0].failure_class == CLASSES[plan]


def judge(play: Play) -> None:
    """What holds of every case, by the ledger's file; and that its run is whole."""
    asked = play.ledger.lines("asked", case=play.case)
    done = play.ledger.lines("done", case=play.case)
    made = play.calls()
    assert len(asked) <= len(made), "nothing is asked for without an intent"
    if play.tool.startswith(("write", "launch")):
        assert len({(line["key"], line["digest"]) for line in asked}) == 1, "one key and one digest"
        assert {line["key"] for line in asked} == {call.key for call in made}
        assert len(done) == play.outcome().startswith("done"), "done once, or said not to be done"
    if play.tool.startswith("launch"):
        assert len(done) <= 1
    row = play.row()
    assert list(journal.verify(row, row.journal.order_by("seq"))) == []
    assert not {call.state for call in made} & {"started", "unknown"}
    assert not row.steps.filter(state__in=["started", "waiting", "held", "unknown"]).exists()


def test_every_class_of_failure_and_every_behaviour_is_in_the_table() -> None:
    # "Unavailable" is no answer of the other side: it was not asked.
    assert set(CLASSES.values()) - {""} == {kind.value for kind in FailureClass} - {"unavailable"}
    assert {way for plan in CLASSES for way in plan.split()} == set(WAYS)
    assert len(TABLE) == len(CLASSES) * len({tool for _, tool in TABLE})
    assert {tool.partition("_")[0] for _, tool in TABLE} == {"read", "draft", "write", "launch"}
