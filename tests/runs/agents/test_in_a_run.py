"""An agent inside a real run: its requests and calls are steps with a journal, and what waits is a row."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from pydantic import BaseModel

from runs import engine, gate, journal, services, timers, workflow
from runs.agents.script import CallTool
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.gate import Go, Hold, Next, ProposedCall, Refuse, Verdict
from runs.journal import Entry
from runs.models import JournalEntry, Step
from runs.models import Run as RunRow
from runs.states import RunState
from runs.turns import checkpoint
from tests.runs.agents.book import Crash
from tests.runs.agents.cast import DONE, LOOK_UP, PROPOSE, analyst, by_turn
from tests.runs.agents.cast import refund as refund_tool

pytestmark = pytest.mark.django_db(transaction=True)

WORKER = "wrk_test"


class Case(BaseModel):
    """An input."""

    text: str = "Case 7"


class Reviewer:
    """A gate that holds refunds until `verdict` is there."""

    def __init__(self) -> None:
        self.verdict: Verdict | None = None
        self.opened: list[ProposedCall] = []

    def review(self, call: ProposedCall) -> Verdict:
        held = self.verdict or Hold(policy="refunds")
        return held if call.tool.name == "refund" else Go(policy="test")

    def open(self, call: ProposedCall, hold: Hold) -> list[Entry]:
        self.opened.append(call)
        return [Entry("approval.opened", "Somebody must decide", {}, call.step_id)]

    def answer(self, call: ProposedCall) -> Verdict:
        return self.verdict or Hold(policy="refunds")

    def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Entry]:
        return []


@pytest.fixture
def reviewer(monkeypatch: pytest.MonkeyPatch) -> Reviewer:
    there = Reviewer()
    monkeypatch.setattr(gate, "_installed", there)
    return there


def begin(script: Any, name: str = "test.analyse") -> RunRow:
    definition = analyst(script)

    @workflow.workflow(name)
    def analyse(run: Run, case: Case) -> float:
        return float(run.agent(definition, case.text).amount)

    return services.start_run(name, {}, actor="user:ana")


def states(run: RunRow) -> dict[str, str]:
    return dict(Step.objects.filter(run=run).order_by("position").values_list("path", "state"))


def look_again(run: RunRow) -> None:
    """What a decision does to the run."""
    with transaction.atomic():
        services.wake(services.lock_run(run.id))


def whole(run: RunRow) -> bool:
    row = RunRow.objects.get(pk=run.pk)
    return not list(journal.verify(row, list(JournalEntry.objects.filter(run=run).order_by("seq"))))


class Commits:
    """Counts the commits of turns and, when told to, lets the process die right after one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self._last = 0
        self._write = checkpoint.write
        monkeypatch.setattr(checkpoint, "write", self._counted)

    def crash_after(self, number: int) -> None:
        """The process dies after this commit, counted from now."""
        self._last = self.made + number

    def _counted(self, *given: Any, **named: Any) -> bool:
        written = self._write(*given, **named)
        self.made += 1
        if self.made == self._last:
            raise Crash(f"after commit {self.made}")
        return written


class TestRun:
    def test_it_works(self, reviewer: Reviewer) -> None:
        run = begin(by_turn(LOOK_UP, DONE))
        assert engine.advance(run.id, WORKER) is Outcome.ENDED
        run.refresh_from_db()
        assert (run.state, run.output) == (RunState.SUCCEEDED, 40.5)
        assert list(states(run).values()) == ["succeeded"] * 5
        request = Step.objects.get(run=run, path__endswith="/model:1")
        assert (request.kind, request.name, request.model) == ("model", "analyst", "scripted:analyst")
        assert request.cost == 0
        assert whole(run)

    def test_a_held_call_waits_and_the_other_is_made(self, reviewer: Reviewer) -> None:
        script = by_turn(PROPOSE, DONE)
        run = begin(script)
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert run.state == RunState.WAITING
        by_name = dict(Step.objects.filter(run=run, kind="tool").values_list("name", "state"))
        assert by_name == {"refund": "held", "message": "succeeded"}
        assert [(call.why, call.agent) for call in reviewer.opened] == [
            ("The parcel never arrived.", "analyst")
        ]
        reviewer.verdict = Go(policy="refunds", approval_id="apr_1", by="user:ben")
        look_again(run)
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert (run.state, run.output) == (RunState.SUCCEEDED, 40.5)
        assert set(states(run).values()) == {"succeeded"}
        assert [conversation.turn for conversation in script.seen] == [1, 2]
        assert whole(run)

    def test_a_reviewers_no_reaches_the_model(self, reviewer: Reviewer) -> None:
        script = by_turn(PROPOSE, DONE)
        run = begin(script)
        engine.advance(run.id, WORKER)
        reviewer.verdict = Refuse("rejected", "The parcel was found.", next=Next.SEND_BACK, by="user:ben")
        look_again(run)
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert run.state == RunState.SUCCEEDED
        told = script.seen[1].results_of("refund")[0]
        assert (told.outcome, told.content) == ("denied", "Not approved: The parcel was found.")
        assert whole(run)

    def test_the_tools_own_refusal_is_a_step_and_the_agent_goes_on(self, reviewer: Reviewer) -> None:
        reviewer.verdict = Go(policy="test")
        script = by_turn([CallTool(refund_tool, {"order_id": "W1", "amount": 5000})], DONE)
        run = begin(script)
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert run.state == RunState.SUCCEEDED
        assert Step.objects.get(run=run, kind="tool").state == "refused"
        assert script.seen[1].results[0].content == "Refused: more than was paid"

    def test_an_unknown_tool_is_on_record(self, reviewer: Reviewer) -> None:
        run = begin(by_turn(CallTool("drop_tables", {}), DONE))
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert run.state == RunState.SUCCEEDED
        step = Step.objects.get(run=run, kind="tool")
        assert (step.name, step.state) == ("drop_tables", "failed")
        assert whole(run)

    def test_an_agent_that_fails_fails_the_run(self, reviewer: Reviewer) -> None:
        run = begin(lambda _: 1 / 0)
        engine.advance(run.id, WORKER)
        run.refresh_from_db()
        assert run.state == RunState.FAILED
        assert whole(run)

    def test_a_crash_at_every_commit_comes_to_the_same_end(
        self, reviewer: Reviewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calm = begin(by_turn(LOOK_UP, DONE))
        commits = Commits(monkeypatch)
        engine.advance(calm.id, WORKER)
        expected = states(calm)
        for number in range(1, commits.made + 1):
            run = begin(by_turn(LOOK_UP, DONE), f"test.analyse{number}")
            commits.crash_after(number)
            with pytest.raises(Crash):
                engine.advance(run.id, WORKER)
            RunRow.objects.filter(pk=run.pk).update(lease_until=db_now() - timedelta(seconds=1))
            timers.rescue_lost_runs()
            engine.advance(run.id, "wrk_other")
            run.refresh_from_db()
            assert (run.state, run.output) == (RunState.SUCCEEDED, 40.5), number
            assert states(run) == expected, number
            assert whole(run), number
