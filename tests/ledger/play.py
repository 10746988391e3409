"""A case: a run with one call, what happens to it until it ends, and how it is judged."""

from __future__ import annotations

import os

from django.contrib.auth.models import User

from runs import engine, journal, services, timers
from runs.models import Run as RunRow
from tests.ledger.judge import Ledger
from tests.runs.test_every_commit_of_each_kind import decide, take_over, time_passes
from tools import services as calls
from tools.failures import FailureClass
from tools.models import ToolCall

ROUNDS = 12
#: What a person lets it try again who finds that it did not happen.
MAY_PASS = (FailureClass.TRANSIENT, FailureClass.RATE_LIMITED, FailureClass.UNKNOWN_OUTCOME)


class Play:
    """One case: a run, what happens to it until it ends, and what is on record of it."""

    def __init__(self, tool: str, plan: str, moment: str, ledger: Ledger, bea: User) -> None:
        self.case = f"{tool}, {plan}, {moment}"
        self.tool, self.ledger, self.bea = tool, ledger, bea
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
            self.others_do_their_part()
        row = self.row()
        raise AssertionError(f"it is stuck: {row.state} {row.waiting_for} {row.attention}")

    def others_do_their_part(self) -> None:
        """Time passes, and people decide and say what they know."""
        time_passes()
        timers.wake_due_runs()
        decide(self.bea)
        self.settle()

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
