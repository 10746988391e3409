"""Another version of a tool under runs that are under way: what has ended stands, the rest is asked anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from approvals import rulebook
from approvals import services as decisions
from approvals.models import Approval
from runs import engine, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.models import Step
from runs.stops import Fenced
from runs.turns.turn import Turn
from tools import registry
from tools import services as calls
from tools.contract import IdempotencyKey, Tool
from tools.failures import Transient
from tools.models import ToolCall

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("talking_broker")]
WORKER = "wrk_test"


def redeclared(version: int, function: Callable[..., Any], **more: Any) -> Tool:
    """The tool of that name in that version, as after a deploy."""
    registry._tools.pop(more.get("name", function.__name__), None)
    more.setdefault("rollback", "None")
    return registry.tool(version=version, **more)(function)


def begun(name: str = "t.flow") -> RunRow:
    run = services.start_run(name, {}, actor="user:ana")
    engine.advance(run.id, WORKER)
    run.refresh_from_db()
    return run


def woken(run: RunRow, worker: str = WORKER) -> engine.Outcome:
    """Another turn, whatever it waits for."""
    past = run.created_at
    Step.objects.filter(run=run).exclude(due_at=None).update(due_at=past)
    RunRow.objects.filter(pk=run.pk, state="waiting").update(wake_at=past)
    services.wake_due(run.id)
    outcome = engine.advance(run.id, worker)
    run.refresh_from_db()
    return outcome


def look(thing: str) -> dict[str, str]:
    return {"thing": thing}


def flow_of(tool: Callable[[], Tool]) -> None:
    @workflow.workflow("t.flow")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        seen = run.tool(tool(), "a")
        run.sleep(3600)
        return seen


@pytest.mark.usefixtures("open_gate")
class TestWhatHasEnded:
    def test_it_stands_under_a_later_version(self) -> None:
        now = [redeclared(1, look, effect="read")]
        flow_of(lambda: now[0])
        run = begun()
        now[0] = redeclared(7, look, effect="read")
        assert woken(run) is Outcome.ENDED
        assert (run.state, run.output) == ("succeeded", {"thing": "a"})
        assert ToolCall.objects.filter(run_id=run.pk).count() == 1

    def test_and_under_an_earlier_one_after_a_deploy_was_taken_back(self) -> None:
        now = [redeclared(2, look, effect="read")]
        flow_of(lambda: now[0])
        run = begun()
        now[0] = redeclared(1, look, effect="read")
        assert woken(run) is Outcome.ENDED

    def test_and_when_the_contract_has_gained_a_parameter_with_a_default(self) -> None:
        now = [redeclared(1, look, effect="read")]
        flow_of(lambda: now[0])
        run = begun()

        def wider(thing: str, colour: str = "red") -> dict[str, str]:
            return {"thing": thing, "colour": colour}

        now[0] = redeclared(2, wider, effect="read", name="look")
        assert woken(run) is Outcome.ENDED
        assert run.output == {"thing": "a"}

    def test_other_arguments_are_still_another_step(self) -> None:
        now, thing = [redeclared(1, look, effect="read")], ["a"]

        @workflow.workflow("t.flow")
        def flow(run: Run, case: dict[str, Any]) -> None:
            run.tool(now[0], thing[0])
            run.sleep(3600)

        run = begun()
        now[0], thing[0] = redeclared(2, look, effect="read"), "b"
        assert woken(run) is Outcome.NEEDS_ATTENTION
        assert run.attention["code"] == "diverged"

    def test_a_result_that_no_longer_fits_halts_the_run_and_fails_nothing(self) -> None:
        now = [redeclared(1, look, effect="read")]
        flow_of(lambda: now[0])
        run = begun()

        def counts(thing: str) -> int:
            return 1

        now[0] = redeclared(2, counts, effect="read", name="look")
        assert woken(run) is Outcome.NEEDS_ATTENTION
        assert run.attention["code"] == "diverged"
        assert "deploy that, and resume the run" in run.attention["sentence"]
        now[0] = redeclared(3, look, effect="read")
        services.resume_run(run.id, actor="user:omar", reason="Deployed.")
        assert woken(run) is Outcome.ENDED
        assert run.output == {"thing": "a"}


class Till:
    """What was paid, by key."""

    def __init__(self) -> None:
        self.paid: list[str] = []
        self.breaks = False
        self.tool: Tool

    def declare(self, version: int, effect: str = "write") -> None:
        def pay(thing: str, *, key: IdempotencyKey) -> str:
            self.paid.append(key)
            if self.breaks:
                raise Transient("no answer")
            return f"version {version}"

        self.tool = redeclared(version, pay, effect=effect)


@pytest.fixture
def till() -> Till:
    made = Till()
    made.declare(1)

    @workflow.workflow("t.pay")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        return run.tool(made.tool, "a")

    return made


@pytest.fixture
def bea(db: None) -> User:
    made = User.objects.create_user("bea", password="x")
    made.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    rulebook.revise("all", {}, actor="user:risk")
    return made


def approve(approval: Approval, by: User) -> None:
    decisions.decide(approval.pk, by=by, verdict="approve", digest=approval.digest)


class TestWhatHasNotEnded:
    def test_what_is_held_is_asked_anew(self, till: Till, bea: User) -> None:
        run = begun("t.pay")
        old = Approval.objects.get(run=run)
        approve(old, bea)
        till.declare(2)
        assert woken(run) is Outcome.WAITING
        new = Approval.objects.get(run=run, state="pending")
        old.refresh_from_db()
        assert (till.paid, old.state, old.superseded_by, new.tool_version) == ([], "superseded", new, 2)
        approve(new, bea)
        assert woken(run) is Outcome.ENDED
        assert (run.output, till.paid) == ("version 2", [new.key])
        assert woken(run) is Outcome.NOT_READY

    def test_another_attempt_is_asked_about_anew_and_keeps_its_key(self, till: Till, bea: User) -> None:
        run = begun("t.pay")
        old = Approval.objects.get(run=run)
        approve(old, bea)
        till.breaks = True
        assert woken(run) is Outcome.WAITING, "it is tried again later"
        till.breaks = False
        till.declare(2)
        assert woken(run) is Outcome.WAITING
        assert till.paid == [old.key], "nobody said yes to this version"
        new = Approval.objects.get(run=run, state="pending")
        approve(new, bea)
        assert woken(run) is Outcome.ENDED
        calls = ToolCall.objects.filter(run_id=run.pk).order_by("attempt")
        assert [(call.attempt, call.version, call.state) for call in calls] == [
            (1, 1, "failed"),
            (2, 2, "succeeded"),
        ]
        assert len({(call.key, call.arguments_digest) for call in calls}) == 1

    def test_a_call_lost_in_the_middle_is_looked_up_and_then_asked_about(
        self, till: Till, bea: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = begun("t.pay")
        approve(Approval.objects.get(run=run), bea)
        with monkeypatch.context() as dying:
            dying.setattr(Turn, "must_still_own", gone)
            assert woken(run) is Outcome.FENCED
        till.declare(2)
        found: list[str] = []
        till.tool.lookup(lambda key: found.pop() if found else None)
        taken_over(run)
        assert engine.advance(run.id, "wrk_other") is Outcome.WAITING
        assert (till.paid, Approval.objects.filter(run=run, state="pending").count()) == ([], 1)
        found.append("it was there")
        approve(Approval.objects.get(run=run, state="pending"), bea)
        assert woken(run) is Outcome.ENDED
        assert len(till.paid) == 1 and run.output == "version 2"

    @pytest.mark.parametrize(
        ("outcome", "ends"), [("happened", "it was there"), ("did_not_happen", "Rejected")]
    )
    def test_a_no_to_another_attempt_does_not_say_that_the_first_did_not_happen(
        self, till: Till, bea: User, monkeypatch: pytest.MonkeyPatch, outcome: str, ends: str
    ) -> None:
        run = begun("t.pay")
        approve(Approval.objects.get(run=run), bea)
        with monkeypatch.context() as dying:
            dying.setattr(Turn, "must_still_own", gone)
            assert woken(run) is Outcome.FENCED
        till.declare(2)
        taken_over(run)
        assert engine.advance(run.id, "wrk_other") is Outcome.WAITING
        asked = Approval.objects.get(run=run, state="pending")
        decisions.decide(asked.pk, by=bea, verdict="reject", digest=asked.digest, reason="no")
        assert woken(run) is Outcome.NEEDS_ATTENTION
        run.refresh_from_db()
        call = ToolCall.objects.get(state="unknown")
        assert (run.attention["code"], run.steps.get().state) == ("unknown_outcome", "unknown")
        assert "another attempt is refused: no" in run.attention["sentence"]
        result = "it was there" if outcome == "happened" else None
        ToolCall.objects.update(not_before=db_now() - timedelta(seconds=1))
        calls.settle(call.pk, outcome, result, note="Asked the bank.", by="user:ben")
        woken(run)
        run.refresh_from_db()
        assert (run.state, till.paid) == ("succeeded" if outcome == "happened" else "cancelled", [])
        assert ends in str(run.output)

    def test_what_the_lookup_finds_ends_it(
        self, till: Till, bea: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = begun("t.pay")
        approve(Approval.objects.get(run=run), bea)
        with monkeypatch.context() as dying:
            dying.setattr(Turn, "must_still_own", gone)
            assert woken(run) is Outcome.FENCED
        till.declare(2)
        till.tool.lookup(lambda key: "found")
        taken_over(run)
        assert engine.advance(run.id, "wrk_other") is Outcome.ENDED
        run.refresh_from_db()
        assert (run.output, till.paid) == ("found", [])

    def test_one_of_a_later_version_is_left_to_code_that_knows_it(self, till: Till, bea: User) -> None:
        till.declare(2)
        run = begun("t.pay")
        till.declare(1)
        assert woken(run, "wrk_old") is Outcome.NEEDS_ATTENTION or run.state == "waiting"
        services.wake(services.found_run(run.id)) if run.state == "waiting" else None
        engine.advance(run.id, "wrk_old")
        run.refresh_from_db()
        assert (run.state, run.attention["code"]) == ("needs_attention", "diverged")
        assert Approval.objects.get(run=run).state == "pending"
        till.declare(2)
        services.resume_run(run.id, actor="user:omar", reason="The new code is back.")
        engine.advance(run.id, WORKER)
        approve(Approval.objects.get(run=run), bea)
        assert woken(run) is Outcome.ENDED


def gone(turn: Turn, seconds: float, not_before: Any = None) -> None:
    """The worker dies with its intent on record."""
    raise turn.stop(Fenced("it died"))


def taken_over(run: RunRow) -> None:
    """The lease is over, and so is the time in which the call could still arrive."""
    past = run.created_at
    Step.objects.filter(run=run).update(not_before=past)
    RunRow.objects.filter(pk=run.pk).update(lease_until=past)
    run.refresh_from_db()
    services.rescue_run(run.id, run.lease_epoch, reason="it died", died=True, proven=True, alone=False)


class TestTheKey:
    def test_people_see_the_key_that_is_sent_also_after_the_run_went_back(
        self, till: Till, bea: User
    ) -> None:
        @workflow.workflow("t.twice")
        def flow(run: Run, case: dict[str, Any]) -> Any:
            run.tool(till.tool, "a")
            run.sleep(3600)

        run = begun("t.twice")
        approve(Approval.objects.get(run=run), bea)
        woken(run)
        services.pause_run(run.id, actor="user:omar", reason="wrong")
        services.retry_run(run.id, actor="user:omar", reason="again", from_path="1")
        engine.advance(run.id, WORKER)
        second = Approval.objects.get(run=run, state="pending")
        assert second.key == Step.objects.get(run=run, path="1").key != till.paid[0]
        approve(second, bea)
        woken(run)
        assert till.paid[1] == second.key
        second.refresh_from_db()
        assert second.consumed_by_key == second.key
