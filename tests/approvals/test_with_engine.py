"""The gate in the engine's hands: a run stops at a call, a person decides, the run goes on with that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from pydantic import BaseModel

from approvals import rulebook, services
from approvals.models import Approval
from runs import engine, journal, timers, workflow
from runs.context import Run
from runs.crew import workers
from runs.engine import Outcome
from runs.gate import Expired, Next, Rejected
from runs.models import Run as RunRow
from runs.services import start_run
from tests.approvals.conftest import overdue
from tools import registry, switches
from tools.contract import Call, IdempotencyKey, Money, Tool
from tools.failures import Refused

pytestmark = pytest.mark.django_db(transaction=True)


class Case(BaseModel):
    """An input."""

    amount: Money = "120.00"  # type: ignore[assignment]


class Till:
    """The world: what was paid, by key, and whether the shop's own rules allow it."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, str]] = []
        self.closed = False
        self.closed_soon = False


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
def pay(till: Till, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tool]:
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))
    with registry.scratch():

        @registry.tool(effect="irreversible", risk="high", name="pay_out")
        def pay_out(amount: Money, *, key: IdempotencyKey) -> str:
            till.paid.append((str(amount), key))
            return f"paid {amount}"

        @pay_out.precondition
        def _(call: Call) -> None:
            if till.closed:
                raise Refused("The till is closed.")

        yield pay_out


@pytest.fixture
def refunds(pay: Tool) -> str:
    """A workflow that pays, drafts again when sent back, and tells how it ended."""

    @workflow.workflow("test.refunds")
    def refund(run: Run, case: Case) -> str:
        amount = case.amount
        while True:
            try:
                return str(run.tool(pay, amount, why="Broken on arrival."))
            except Expired as verdict:
                return f"expired: {verdict.next}"
            except Rejected as verdict:
                if verdict.next is not Next.SEND_BACK:
                    raise
                amount = amount / 2
            except Refused as error:
                return f"refused: {error}"

    return "test.refunds"


@pytest.fixture
def bea() -> User:
    person = User.objects.create_user("bea", password="x")
    person.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    return person


def advance(run: RunRow) -> Outcome:
    outcome = engine.advance(run.pk, "wrk_test")
    run.refresh_from_db()
    assert list(journal.verify(run, run.journal.all())) == []
    return outcome


def started(name: str) -> tuple[RunRow, Approval]:
    """A run that has come to its hold point, and what it asks."""
    run = start_run(name, {}, actor="user:ana")
    assert advance(run) is Outcome.WAITING
    return run, Approval.objects.get(run=run, state="pending")


def say(approval: Approval, by: User, verdict: str = "approve", **more: Any) -> None:
    services.decide(approval.pk, by=by, verdict=verdict, digest=approval.digest, **more)


def test_nothing_is_done_before_the_yes_and_once_after_it(refunds: str, till: Till, bea: User) -> None:
    run, approval = started(refunds)
    assert (run.state, till.paid) == ("waiting", [])
    assert engine.advance(run.pk, "wrk_test") is Outcome.NOT_READY  # it waits as rows
    say(approval, bea)
    run.refresh_from_db()
    assert run.state == "queued"
    assert advance(run) is Outcome.ENDED
    assert (run.state, run.output) == ("succeeded", "paid 120.00")
    approval.refresh_from_db()
    assert till.paid == [("120.00", approval.consumed_by_key)]


def test_a_request_of_a_branch_that_lost_is_withdrawn(pay: Tool, till: Till) -> None:
    @workflow.workflow("test.sooner")
    def sooner(run: Run, case: Case) -> int:
        return run.race(run.later(pay, case.amount), run.later(run.sleep, 0))[0]

    run = start_run("test.sooner", {}, actor="user:ana")
    assert advance(run) is Outcome.ENDED
    assert (run.output, till.paid) == (1, [])
    assert Approval.objects.get(run=run).state == "withdrawn"


def test_the_journal_tells_it_in_order(refunds: str, bea: User) -> None:
    run, approval = started(refunds)
    say(approval, bea)
    advance(run)
    kinds = [entry.kind for entry in run.journal.all() if entry.kind.startswith(("approval", "call"))]
    assert kinds == ["approval.requested", "approval.approved", "call.started", "call.succeeded"]
    call = run.journal.get(kind="call.started")
    assert call.content["approval"] == approval.pk
    rows = approval.history.order_by("history_id").values_list("state", "actor")
    assert list(rows) == [
        ("pending", "worker:wrk_test"),
        ("approved", "user:bea"),
        ("approved", "worker:wrk_test"),  # used by its call
    ]


def test_sent_back_is_another_draft_and_another_request(refunds: str, till: Till, bea: User) -> None:
    run, approval = started(refunds)
    say(approval, bea, "reject", reason="Half is enough.", next="send_back")
    assert advance(run) is Outcome.WAITING
    second = Approval.objects.get(run=run, state="pending")
    assert (second.arguments, second.key == approval.key) == ({"amount": "60.00"}, False)
    say(second, bea)
    advance(run)
    assert [amount for amount, _ in till.paid] == ["60.00"]


def test_stop_ends_the_run(refunds: str, till: Till, bea: User) -> None:
    run, approval = started(refunds)
    say(approval, bea, "reject", reason="A fraud.")
    assert advance(run) is Outcome.ENDED
    assert (run.state, till.paid) == ("cancelled", [])
    assert "Stopped by bea: A fraud." in [entry.sentence for entry in run.journal.all()]


def test_expired_is_neither_yes_nor_a_persons_no(refunds: str, till: Till, bea: User) -> None:
    rulebook.revise("all", {"on_expiry": "continue"}, actor="user:risk")
    run, approval = started(refunds)
    services.expire(overdue(approval).pk)
    advance(run)
    assert (run.output, till.paid) == ("expired: continue", [])


def test_the_tools_own_rules_come_before_any_person(refunds: str, till: Till) -> None:
    till.closed = True
    run = start_run(refunds, {}, actor="user:ana")
    advance(run)
    assert run.output == "refused: The till is closed."
    assert not Approval.objects.exists()


def test_and_once_more_after_the_yes(refunds: str, till: Till, bea: User) -> None:
    run, approval = started(refunds)
    say(approval, bea)
    till.closed = True
    advance(run)
    assert (run.output, till.paid) == ("refused: The till is closed.", [])


def test_a_policy_that_changes_after_the_yes_asks_again(refunds: str, till: Till, bea: User) -> None:
    run, approval = started(refunds)
    say(approval, bea)
    rulebook.revise("all", {"purpose": "Look twice."}, actor="user:risk")
    assert advance(run) is Outcome.WAITING
    approval.refresh_from_db()
    second = Approval.objects.get(run=run, state="pending")
    assert (approval.state, approval.superseded_by, till.paid) == ("superseded", second, [])
    say(second, bea)
    advance(run)
    assert run.output == "paid 120.00"


def test_a_policy_that_forbids_it_after_the_yes(refunds: str, till: Till, bea: User) -> None:
    run, approval = started(refunds)
    say(approval, bea)
    rulebook.revise("all", {"tier": "stop"}, actor="user:risk")
    advance(run)
    assert run.output.startswith("refused: The policy all v1 applies.")
    assert till.paid == []
    approval.refresh_from_db()
    assert approval.state == "superseded"


def test_a_yes_is_used_up_with_the_intent_alone(
    refunds: str, pay: Tool, till: Till, bea: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is asked to end right before it would begin: nothing is begun, and the yes still stands."""
    run, approval = started(refunds)
    say(approval, bea)
    with monkeypatch.context() as asked:
        asked.setattr(workers, "leaving", lambda: till.closed_soon)
        pay._hooks["precondition"] = lambda call: setattr(till, "closed_soon", True)
        assert advance(run) is Outcome.HANDED_OVER
    approval.refresh_from_db()
    assert (till.paid, approval.state, approval.consumed_by_key) == ([], "approved", "")
    pay._hooks.pop("precondition")
    assert advance(run) is Outcome.ENDED
    approval.refresh_from_db()
    assert [key for _, key in till.paid] == [approval.consumed_by_key]


def test_while_a_switch_is_on_a_yes_is_kept_unused(refunds: str, till: Till, bea: User) -> None:
    run, approval = started(refunds)
    switch = switches.kill("effect", "write", reason="They pay twice.", by="user:omar")
    say(approval, bea)  # people go on deciding
    assert advance(run) is Outcome.WAITING
    approval.refresh_from_db()
    assert (approval.state, approval.consumed_by_key, till.paid) == ("approved", "", [])
    assert run.waiting_for.startswith("the release of the switch on all writes")
    switches.release(switch.pk, then="resume", reason="Repaired.", by="user:omar")
    timers.let_released_go()
    assert advance(run) is Outcome.ENDED
    assert len(till.paid) == 1


def test_while_a_switch_is_on_a_no_is_heard_and_nobody_new_is_asked(
    refunds: str, till: Till, bea: User
) -> None:
    run, approval = started(refunds)
    switches.kill("tool", "pay_out", reason="They pay twice.", by="user:omar")
    say(approval, bea, "reject", reason="Too much.", next="send_back")
    assert advance(run) is Outcome.WAITING
    assert not Approval.objects.filter(run=run, state="pending").exists(), "the new draft is not proposed yet"
    assert till.paid == []
