"""A call that stands still for a person: tried again, answered by hand, or let fail; no more moves it."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from runs import engine, gate, journal, services, workflow
from runs.agents.port import ToolFailed
from runs.context import Run
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.models import Step
from tests.runs.control.conftest import PassingGate
from tools.contract import ContractError, IdempotencyKey, Tool
from tools.failures import InvalidData, PermissionNeeded, Transient
from tools.models import ToolCall
from tools.registry import tool
from tools.retry import RetryPolicy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("talking_broker")]
OMAR: dict[str, Any] = {"actor": "user:omar", "reason": "It is said so."}


class Bank:
    """The other side, and how it fails."""

    def __init__(self) -> None:
        self.error: Exception | None = Transient("the bank is closed")
        self.asked: list[str] = []

    def pay(self, key: str) -> str:
        self.asked.append(key)
        if self.error is not None:
            raise self.error
        return "R-1"


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture(autouse=True)
def passing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_installed", PassingGate())


Begin = Callable[..., RunRow]


@pytest.fixture
def halted(bank: Bank) -> Begin:
    """A run whose one call stands still."""

    def begin(effect: str = "read", attempts: int = 1) -> RunRow:
        @tool(effect=effect, retry=RetryPolicy(attempts=attempts), on_used_up="incident", rollback="None")
        def pay(*, key: IdempotencyKey) -> str:
            return bank.pay(key)

        @workflow.workflow("t.pays")
        def pays(run: Run, case: dict[str, Any]) -> str:
            try:
                return str(run.tool(pay))
            except ToolFailed as error:
                return f"failed: {error}"

        run = services.start_run("t.pays", {}, actor="user:ana")
        engine.advance(run.id, "wrk_a")
        for _ in range(attempts - 1):
            Step.objects.filter(run=run).exclude(due_at=None).update(due_at=run.created_at)
            RunRow.objects.filter(pk=run.pk).update(wake_at=run.created_at)
            services.wake_due(run.id)
            engine.advance(run.id, "wrk_a")
        run.refresh_from_db()
        assert (run.state, run.attention["code"]) == ("needs_attention", "tool_failed")
        assert len(bank.asked) == attempts
        return run

    return begin


def turn(run: RunRow) -> RunRow:
    engine.advance(run.id, "wrk_b")
    run.refresh_from_db()
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []
    return run


class TestTheThreeVerbs:
    def test_it_is_tried_again_with_its_key_as_often_as_at_first(self, halted: Begin, bank: Bank) -> None:
        run = halted(attempts=2)
        services.retry_call(run.id, **OMAR)
        turn(run)
        assert run.state == "waiting", "one more attempt is left"
        bank.error = None
        Step.objects.filter(run=run).update(due_at=run.created_at)
        RunRow.objects.filter(pk=run.pk).update(wake_at=run.created_at)
        services.wake_due(run.id)
        assert turn(run).output == "R-1"
        assert (len(bank.asked), len(set(bank.asked))) == (4, 1)
        attempts = (
            ToolCall.objects.filter(run_id=run.pk).order_by("attempt").values_list("attempt", flat=True)
        )
        assert list(attempts) == [1, 2, 3, 4]

    def test_what_fails_again_stands_still_again(self, halted: Begin) -> None:
        run = halted()
        services.retry_call(run.id, **OMAR)
        assert turn(run).attention["code"] == "tool_failed"

    @pytest.mark.parametrize("effect", ["read", "irreversible"])
    def test_it_is_answered_by_hand(self, bank: Bank, effect: str) -> None:
        bank.error = PermissionNeeded("no mandate")

        @tool(effect=effect, on_used_up="incident", rollback="None")
        def pay(*, key: IdempotencyKey) -> str:
            return bank.pay(key)

        @workflow.workflow("t.pays")
        def pays(run: Run, case: dict[str, Any]) -> str:
            return str(run.tool(pay))

        run = services.start_run("t.pays", {}, actor="user:ana")
        assert turn(run).attention["code"] == "tool_failed"
        with pytest.raises(services.NotPossible, match="cannot be the result of pay"):
            services.answer_call(run.id, {"number": 17}, **OMAR)
        services.answer_call(run.id, "R-17", **OMAR)
        assert turn(run).output == "R-17"
        assert len(bank.asked) == 1
        said = run.journal.get(kind="call.answered")
        assert (said.actor, said.content["reason"]) == ("user:omar", "It is said so.")

    def test_it_fails_and_the_workflow_hears_of_it(self, halted: Begin) -> None:
        run = halted()
        services.stop_call(run.id, **OMAR)
        assert turn(run).output == "failed: the bank is closed"
        assert Step.objects.get(run=run).state == "failed"


class TestWhatMovesIt:
    def test_resuming_is_no_way_around_it(self, halted: Begin, bank: Bank) -> None:
        run = halted()
        services.resume_run(run.id, **OMAR)
        assert turn(run).attention["code"] == "tool_failed"
        assert len(bank.asked) == 1

    def test_retrying_the_run_tries_it_again(self, halted: Begin, bank: Bank) -> None:
        run = halted()
        bank.error = None
        services.retry_run(run.id, **OMAR)
        assert turn(run).output == "R-1"

    def test_it_is_cancelled_with_its_run(self, halted: Begin) -> None:
        run = halted()
        services.cancel_run(run.id, **OMAR)
        run.refresh_from_db()
        assert (run.state, Step.objects.get(run=run).state) == ("cancelled", "cancelled")

    @pytest.mark.parametrize("verb", [services.retry_call, services.stop_call])
    def test_each_is_done_once(self, halted: Begin, verb: Any) -> None:
        run = halted()
        verb(run.id, **OMAR)
        with pytest.raises(services.NotPossible, match="No call of it waits for a person"):
            verb(run.id, **OMAR)
        with pytest.raises(services.NotPossible, match="No call of it waits"):
            services.answer_call(run.id, "R-17", **OMAR)

    def test_a_write_of_which_nobody_knows_is_settled_instead(self, bank: Bank) -> None:
        @tool(effect="write", retry=RetryPolicy(attempts=1), on_used_up="incident", rollback="None")
        def pay(*, key: IdempotencyKey) -> str:
            return bank.pay(key)

        @workflow.workflow("t.pays")
        def pays(run: Run, case: dict[str, Any]) -> str:
            return str(run.tool(pay))

        run = services.start_run("t.pays", {}, actor="user:ana")
        assert turn(run).attention["code"] == "unknown_outcome"

    def test_what_no_person_can_help_fails_as_ever(self, bank: Bank) -> None:
        bank.error = InvalidData("no such account")

        @tool(effect="read", on_used_up="incident")
        def look() -> str:
            return bank.pay("")

        @workflow.workflow("t.looks")
        def looks(run: Run, case: dict[str, Any]) -> str:
            return str(run.tool(look))

        assert turn(services.start_run("t.looks", {}, actor="user:ana")).state == "failed"

    def test_another_word_is_refused(self) -> None:
        with pytest.raises(ContractError, match="neither fail nor incident"):
            Tool(lambda: None, effect="read", name="look", on_used_up="ask")


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def omar(self, db: None) -> None:
        made = User.objects.create_user("omar", password="x")
        made.user_permissions.add(Permission.objects.get(codename="control_run"))
        User.objects.create_user("ana", password="x")

    def run(self, *args: str) -> dict[str, Any]:
        out = StringIO()
        call_command("runs", "incident", *args, "--reason", "r", "--json", stdout=out)
        return json.loads(out.getvalue())  # type: ignore[no-any-return]

    def test_it_works(self, halted: Begin) -> None:
        run = halted()
        self.run(run.id, "--answer", '"R-17"', "--by", "omar")
        assert turn(run).output == "R-17"

    @pytest.mark.parametrize(
        ("args", "code"),
        [
            (("--answer", "{", "--by", "omar"), 2),
            (("--answer", "17", "--by", "omar"), 5),
            (("--stop", "--by", "ana"), 5),
        ],
    )
    def test_what_it_refuses(self, halted: Begin, args: tuple[str, ...], code: int) -> None:
        run = halted()
        with pytest.raises(CommandError) as refused:
            self.run(run.id, *args)
        assert refused.value.returncode == code
        assert turn(run).state == "needs_attention"

    def test_a_run_where_nothing_stands_still(self) -> None:
        @workflow.workflow("t.well")
        def well(run: Run, case: dict[str, Any]) -> None:
            """Nothing."""

        run = services.start_run("t.well", {}, actor="user:ana")
        assert engine.advance(run.id, "wrk_a") is Outcome.ENDED
        with pytest.raises(CommandError) as refused:
            self.run(run.id, "--retry", "--by", "omar")
        assert refused.value.returncode == 6


class TestThePage:
    @pytest.fixture
    def omar(self, client: Client) -> Client:
        return self.as_person(client, "omar", "view_run", "control_run")

    def as_person(self, client: Client, name: str, *may: str) -> Client:
        made = User.objects.create_user(name, password="x")
        made.user_permissions.set(Permission.objects.filter(codename__in=may))
        client.force_login(made)
        return client

    def send(self, client: Client, run: RunRow, **said: str) -> HttpResponse:
        given = {"verb": "answer", "answer": '"R-17"', "reason": "Paid by hand."} | said
        return client.post(reverse("runs:incident", args=[run.id]), given)  # type: ignore[return-value]

    def test_it_works(self, halted: Begin, omar: Client) -> None:
        run = halted()
        assert reverse("runs:incident", args=[run.id]) in omar.get(f"/runs/{run.id}/").content.decode()
        page = omar.get(reverse("runs:incident", args=[run.id])).content.decode()
        assert "nothing was done: the bank is closed" in page
        assert self.send(omar, run).status_code == 303
        assert turn(run).output == "R-17"
        assert self.send(omar, run).status_code == 409

    @pytest.mark.parametrize(("verb", "state"), [("stop", "succeeded"), ("retry", "needs_attention")])
    def test_the_other_two(self, halted: Begin, omar: Client, verb: str, state: str) -> None:
        run = halted()
        assert self.send(omar, run, verb=verb, answer="").status_code == 303
        assert turn(run).state == state

    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ({"answer": "R-17"}, 422),
            ({"answer": ""}, 422),
            ({"reason": " "}, 422),
            ({"verb": "undo"}, 422),
            ({"answer": "17"}, 409),
        ],
    )
    def test_what_it_refuses(self, halted: Begin, omar: Client, said: dict[str, str], status: int) -> None:
        run = halted()
        assert self.send(omar, run, **said).status_code == status
        assert turn(run).state == "needs_attention"

    def test_looking_changes_nothing_and_others_may_not(self, halted: Begin, client: Client) -> None:
        run = halted()
        viewer = self.as_person(client, "vera", "view_run")
        assert viewer.get(reverse("runs:incident", args=[run.id])).status_code == 403
        assert self.send(viewer, run).status_code == 403
        assert "ask an operator" in viewer.get(f"/runs/{run.id}/").content.decode()
        assert turn(run).state == "needs_attention"
