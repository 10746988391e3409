"""A call that happened is undone by a call of its own, through the gate, and once."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pydantic import BaseModel

from runs import engine, gate, journal, services, workflow
from runs.context import Run
from runs.gate import Go, Refuse
from runs.models import JournalEntry
from runs.models import Run as RunRow
from runs.services import NotPossible
from tests.runs.test_views_unknown import client_of
from tests.together import at_once
from tools import registry
from tools.contract import IdempotencyKey
from tools.failures import UnknownOutcome
from tools.models import Compensation, ToolCall
from tools.services import CallNotFound

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


class Paid(BaseModel):
    """What the bank answers."""

    transaction: str


@pytest.fixture(autouse=True)
def bank(own_registries: None) -> list[tuple[str, Any, str]]:
    """What was done, in its order."""
    done: list[tuple[str, Any, str]] = []

    @registry.tool(effect="write", rollback="None")
    def take_back(transaction: str, cents: int, *, key: IdempotencyKey) -> str:
        done.append(("take_back", (transaction, cents), key))
        return "taken back"

    @registry.tool(effect="write", rollback=take_back)
    def pay(cents: int, *, key: IdempotencyKey) -> Paid:
        done.append(("pay", cents, key))
        return Paid(transaction=f"T{cents}")

    pay.undo(lambda call, paid: {"transaction": paid.transaction, "cents": call.values["cents"]})

    @registry.tool(effect="write", rollback="Ask the printer")
    def print_it(*, key: IdempotencyKey) -> str:
        return "printed"

    @workflow.workflow("t.pays")
    def pays(run: Run, tool: str) -> Any:
        return run.tool(pay, 950) if tool == "pay" else run.tool(print_it)

    return done


def happened(tool: str = "pay") -> ToolCall:
    run = services.start_run("t.pays", tool, actor="user:ana")
    engine.advance(run.id, "wrk_a")
    return ToolCall.objects.get(run_id=run.id)


def undo(call: ToolCall) -> RunRow:
    return services.roll_back(call.id, actor="user:omar", reason="Paid twice")


def ended(run: RunRow) -> RunRow:
    engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    return run


def test_it_works(bank: list[Any]) -> None:
    call = happened()
    run = undo(call)
    assert [name for name, _, _ in bank] == ["pay"], "nothing is done by asking for it"
    assert ended(run).state == "succeeded"
    (_, _, paid_key), (name, arguments, key) = bank
    assert (name, arguments) == ("take_back", ("T950", 950))
    assert key != paid_key, "it is an act of its own"
    row = Compensation.objects.get()
    assert (row.call_id, row.run_id, row.undone_by, row.by) == (call.id, call.run_id, run.id, "user:omar")
    assert run.requester == "user:omar"
    entry = JournalEntry.objects.get(run_id=call.run_id, kind="call.roll_back")
    assert entry.sentence == f"omar has pay undone by take_back, in {run.id}: Paid twice"
    beside = JournalEntry.objects.get(run_id=run.id, kind="call.compensates")
    assert beside.content is not None and beside.content["call_id"] == call.id
    for each in (run, RunRow.objects.get(pk=call.run_id)):
        assert not list(journal.verify(each, each.journal.order_by("seq")))
    assert services.undone_by([call.id])[call.id][1] == "succeeded"


def test_not_twice(bank: list[Any]) -> None:
    call = happened()
    run = undo(call)
    with pytest.raises(NotPossible, match=f"is being undone: omar had it undone at .* by {run.id}, which is"):
        undo(call)
    ended(run)
    with pytest.raises(NotPossible, match="is undone: omar had it undone"):
        undo(call)
    assert (Compensation.objects.count(), len(bank)) == (1, 2)


def test_again_after_somebody_refused_it(bank: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    call = happened()
    with monkeypatch.context() as patched:
        patched.setattr(gate.installed(), "review", lambda proposed: Refuse("policy", "not today"))
        assert ended(undo(call)).state == "failed"
    assert len(bank) == 1
    assert ended(undo(call)).state == "succeeded"
    assert Compensation.objects.count() == 2


def test_not_again_while_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    call = happened()

    def lost(**given: Any) -> str:
        raise UnknownOutcome("no answer")

    taken_back = registry.get("take_back")
    monkeypatch.setattr(taken_back, "effect", type(taken_back.effect)("irreversible"))
    monkeypatch.setattr(taken_back, "function", lost)
    run = ended(undo(call))
    assert run.state == "needs_attention"
    services.cancel_run(run.id, actor="user:ana", reason="Leave it")
    with pytest.raises(NotPossible, match="is being undone"):
        undo(call)


def test_the_gate_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def review(proposed: Any) -> Go:
        asked.append((proposed.tool.name, proposed.requester, proposed.why))
        return Go("test", "")

    call = happened()
    monkeypatch.setattr(gate.installed(), "review", review)
    ended(undo(call))
    assert asked[0] == ("take_back", "user:omar", f"Undo {call.id}: Paid twice")


class TestWhatIsRefused:
    def test_a_sentence_is_no_tool(self) -> None:
        with pytest.raises(NotPossible, match="No tool undoes print_it. It says: Ask the printer"):
            undo(happened("print"))

    def test_no_such_call_and_no_reason(self) -> None:
        with pytest.raises(CallNotFound):
            services.roll_back("call_1", actor="user:omar", reason="x")
        with pytest.raises(NotPossible, match="Say why"):
            services.roll_back(happened().id, actor="user:omar", reason=" ")

    def test_what_did_not_happen(self) -> None:
        call = happened()
        ToolCall.objects.filter(pk=call.pk).update(state="failed")
        with pytest.raises(NotPossible, match="is failed: only a call that happened"):
            undo(call)

    @pytest.mark.parametrize(
        ("hook", "words"),
        [
            (lambda call, paid: {"transaction": "T"}, "does not fit take_back: .*cents is missing"),
            (lambda call, paid: ["T"], "must give a dict"),
            (lambda call, paid: {"transaction": {1, 2}}, "gives no arguments"),
            (lambda call, paid: 1 / 0, "broke: .*division by zero"),
        ],
    )
    def test_an_undo_that_does_not_work(self, hook: Any, words: str) -> None:
        call = happened()
        registry.get("pay")._hooks["undo"] = hook
        with pytest.raises(NotPossible, match=words):
            undo(call)
        assert not Compensation.objects.exists()

    def test_code_and_contents_that_are_gone(self) -> None:
        call = happened()
        services.purge_contents(call.run_id)
        with pytest.raises(NotPossible, match="kept no longer"):
            undo(call)
        ToolCall.objects.filter(pk=call.pk).update(tool="pay_of_old")
        with pytest.raises(NotPossible, match="There is no tool called pay_of_old"):
            undo(call)


class TestDoors:
    def page(self, call: ToolCall) -> str:
        return reverse("runs:undo", args=[call.run_id, call.pk])

    def test_it_works(self) -> None:
        call, omar = happened(), client_of("omar", "view_run", "view_toolcall", "start_run")
        calls = reverse("runs:run", args=[call.run_id]) + "?tab=calls"
        assert self.page(call) in omar.get(calls).content.decode()
        assert "take_back" in omar.get(self.page(call)).content.decode()
        assert not Compensation.objects.exists(), "looking changes nothing"
        done = omar.post(self.page(call), {"reason": "Paid twice"})
        made = Compensation.objects.get().undone_by
        assert (done.status_code, done["Location"]) == (303, reverse("runs:run", args=[made]))
        shown = omar.get(calls).content.decode()
        assert made in shown and self.page(call) not in shown
        again = omar.post(self.page(call), {"reason": "Paid twice"})
        assert again.status_code == 409 and "is being undone" in again.content.decode()

    def test_what_is_refused(self) -> None:
        call, omar = happened(), client_of("omar", "view_run", "start_run")
        assert omar.post(self.page(call), {"reason": " "}).status_code == 422
        assert client_of("ada", "view_run").post(self.page(call), {"reason": "x"}).status_code == 403
        assert Client().post(self.page(call), {"reason": "x"}).status_code == 302
        strict = client_of("bea", "view_run", "start_run", enforce_csrf_checks=True)
        assert strict.post(self.page(call), {"reason": "x"}).status_code == 403
        other = happened("print")
        assert omar.get(reverse("runs:undo", args=[other.run_id, call.pk])).status_code == 404
        assert "No tool undoes it" in omar.get(self.page(other)).content.decode()
        assert omar.post(self.page(other), {"reason": "x"}).status_code == 409
        assert not Compensation.objects.exists()

    def test_from_a_shell(self) -> None:
        call, out = happened(), StringIO()
        client_of("omar", "start_run"), client_of("ada", "view_run")
        words = ("runs", "roll-back", call.pk, "--reason", "Paid twice", "--by")
        with pytest.raises(CommandError, match="may not have calls undone"):
            call_command(*words, "ada")
        call_command(*words, "omar", stdout=out)
        assert Compensation.objects.get().undone_by in out.getvalue()
        with pytest.raises(CommandError, match="is being undone") as caught:
            call_command(*words, "omar")
        assert caught.value.returncode == 6
        with pytest.raises(CommandError) as caught:
            call_command("runs", "roll-back", "call_1", "--reason", "x", "--by", "omar")
        assert caught.value.returncode == 4


@pytest.mark.postgres
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_of_many_at_once_one_has_it_undone(bank: list[Any]) -> None:
    call = happened()

    def ask(number: int) -> str:
        try:
            return undo(call).id
        except NotPossible as error:
            return str(error)

    (answers,) = at_once(1, [ask] * 6)
    made = [answer for answer in answers if str(answer).startswith("run_")]
    assert len(made) == 1 and Compensation.objects.count() == 1
    assert all("is being undone" in str(answer) for answer in answers if answer not in made)
