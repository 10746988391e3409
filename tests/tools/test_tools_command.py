"""The operator's door: what it shows, and which exit code each mishap has."""

from __future__ import annotations

import json
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError

from tests.tools.test_tool_calls import Receipt, in_doubt, pay, started
from tools import ports
from tools.cli import listing
from tools.clock import db_now
from tools.contract import Tool
from tools.misfits import Misfit
from tools.models import ToolCall
from tools.registry import tool

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def payment() -> Tool:
    return tool(effect="irreversible", name="test_pay", timeout=5)(pay)


@pytest.fixture(autouse=True)
def olga() -> Any:
    return get_user_model().objects.create_user("olga")


def run(*words: str) -> str:
    out = StringIO()
    call_command("tools", *words, stdout=out)
    return out.getvalue()


def settle(call: str, *words: str) -> str:
    return run("reconcile", call, *words, "--note", "seen", "--by", "olga")


class TestList:
    def test_it_works(self, payment: Tool) -> None:
        payment.preview(lambda call: "Pay")
        line = next(line for line in run("list").splitlines() if "test_pay" in line)
        assert line.split() == ["test_pay", "1", "irreversible", "low", "5", "s", "pass", "preview"]

    def test_as_json(self, payment: Tool) -> None:
        told = {one["name"]: one for one in json.loads(run("list", "--json"))}["test_pay"]
        assert told["contract_digest"] == payment.contract_digest
        assert told["input_schema"]["required"] == ["amount"]


class TestShow:
    def test_it_works(self, payment: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
        payment.lookup(final=True)(lambda key: None)
        tool(effect="draft", name="test_charge", rollback="test_pay")(undoable)
        monkeypatch.setattr(ports, "users_of", lambda name: [f"agent payer of {name}"])
        said = " ".join(run("show", "test_pay").split())
        for part in ("lookup (final)", "irreversible, takes the idempotency key", "3 attempts", "5 s"):
            assert part in said
        assert "used by agent payer of test_pay; tool test_charge, which it rolls back" in said

    def test_as_json_it_is_what_list_says_and_who_uses_it(self, payment: Tool) -> None:
        (listed,) = [one for one in json.loads(run("list", "--json")) if one["name"] == "test_pay"]
        shown = json.loads(run("show", "test_pay", "--json"))
        assert shown == {**shown, **listed, "used_by": []}

    def test_results_that_did_not_fit_are_counted_by_contract(self, payment: Tool) -> None:
        for number, contract in enumerate([payment.contract_digest, payment.contract_digest, "f" * 64]):
            Misfit.objects.create(
                call_id=f"call_{number}", tool="test_pay", version=1, contract=contract, at=db_now()
            )
        Misfit.objects.create(call_id="call_x", tool="other", version=1, contract="f" * 64, at=db_now())
        (line,) = [line for line in run("list").splitlines() if "test_pay" in line]
        assert line.split()[-1] == "2"
        (listed,) = [one for one in json.loads(run("list", "--json")) if one["name"] == "test_pay"]
        assert (listed["misfits"], listed["misfits_of_other_contracts"]) == (2, 1)
        said = run("show", "test_pay")
        assert "2 did not fit this contract, the last one at" in said and "1 did not fit another" in said

    def test_a_call(self) -> None:
        call = in_doubt()
        assert f"{call.id}  {call.tool}  unknown" in run("show", call.id)
        assert json.loads(run("show", call.id, "--json"))["state"] == "unknown"

    @pytest.mark.parametrize("name", ["test_pai", "call_none"])
    def test_what_is_not_there(self, name: str) -> None:
        out = StringIO()
        with pytest.raises(CommandError, match="There is no tool") as caught:
            call_command("tools", "show", name, "--json", stdout=out)
        assert caught.value.returncode == 4
        assert json.loads(out.getvalue())["error"]["code"] == "not_found"


def undoable() -> str:
    """Something that can be undone."""
    return ""


def test_a_database_that_is_behind_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*tools: str) -> Any:
        raise OperationalError("no such table: tools_misfit")

    monkeypatch.setattr(listing, "of_tools", read)
    with pytest.raises(CommandError, match=r"does not answer \(no such table: .*manage.py migrate") as caught:
        run("list")
    assert caught.value.returncode == 1


class TestUnknown:
    def test_nothing_to_do(self) -> None:
        assert run("unknown") == "No call has an unknown outcome.\n"
        assert json.loads(run("unknown", "--json")) == []

    def test_the_oldest_first(self) -> None:
        calls = [in_doubt(), in_doubt(600)]
        started()
        told = json.loads(run("unknown", "--json"))
        assert [one["call"] for one in told] == [call.id for call in calls]
        assert [one["may_be_settled"] for one in told] == [True, False]
        assert calls[0].id in run("unknown")


class TestReconcile:
    def test_it_works(self) -> None:
        call = in_doubt()
        assert "succeeded" in settle(call.id, "--happened", "--result", '{"number": "7"}')
        assert ToolCall.objects.get(pk=call.pk).settled_by == "user:olga"

    def test_who_cannot_tell(self) -> None:
        call = in_doubt()
        assert "stays unknown, and asks for a second look" in settle(call.id, "--cannot-tell")
        (told,) = json.loads(run("unknown", "--json"))
        assert (told["asks"], told["said"][0]["by"]) == ("a second look", "user:olga")
        with pytest.raises(CommandError, match="olga said at") as caught:
            settle(call.id, "--did-not-happen", "--seen", "")
        assert caught.value.returncode == 6
        settle(call.id, "--did-not-happen", "--seen", told["last_said"], "--reference", "none")

    def test_a_second_person(self, settings: Any) -> None:
        settings.HOLDPOINT_TWO_PEOPLE_ABOVE = (Decimal(5), "EUR")
        get_user_model().objects.create_user("ben")
        call = in_doubt()
        assert "until another person says the same" in settle(call.id, "--did-not-happen")
        assert "a second person" in run("unknown")
        assert "failed" in run("reconcile", call.id, "--did-not-happen", "--note", "n", "--by", "ben")

    def test_as_json(self, payment: Tool) -> None:
        payment.lookup(lambda key: Receipt(number=key))
        first, second = in_doubt(), in_doubt()
        told = json.loads(settle(first.id, "--did-not-happen", "--json"))
        assert told == {"call": first.id, "state": "failed", "settled_by": "user:olga"}
        (probed,) = json.loads(run("reconcile", "--probe", "--json"))
        assert (probed["call"], probed["outcome"]) == (second.id, "happened")
        assert json.loads(run("reconcile", "--probe", "--json")) == []

    def test_as_json_what_could_not_be_looked_up_is_answered_once(self) -> None:
        call, out = in_doubt(), StringIO()
        with pytest.raises(CommandError, match="1 of 1"):
            call_command("tools", "reconcile", "--probe", "--json", stdout=out)
        (probed,) = json.loads(out.getvalue())
        assert probed["call"] == call.id and probed["error"]

    @pytest.mark.parametrize(
        ("words", "code", "cause"),
        [
            (["call_none", "--did-not-happen", "--note", "x", "--by", "olga"], 4, "no tool call call_none"),
            (
                ["{doubt}", "--did-not-happen", "--note", "x", "--by", "nobody"],
                4,
                "no active user called",
            ),
            (["{doubt}", "--did-not-happen", "--by", "olga"], 2, "give --note"),
            (["{doubt}", "--did-not-happen", "--note", "x"], 2, "give --by"),
            (["--happened", "--note", "x", "--by", "olga"], 2, "give the id"),
            (["{doubt}", "--happened", "--result", "{", "--note", "x", "--by", "olga"], 2, "not JSON"),
            (["{doubt}", "--happened", "--note", "x", "--by", "olga"], 5, "Give the result"),
            (["{early}", "--did-not-happen", "--note", "x", "--by", "olga"], 5, "stalled worker"),
            (["{known}", "--did-not-happen", "--note", "x", "--by", "olga"], 6, "nothing to settle"),
            (["{known}", "--probe"], 6, "nothing to settle"),
            (["call_none", "--probe"], 4, "no tool call"),
            (["{doubt}", "--probe"], 1, "could not be looked up"),
        ],
    )
    def test_each_mishap_has_its_code(self, words: list[str], code: int, cause: str) -> None:
        ids = {"{doubt}": in_doubt().id, "{early}": in_doubt(600).id, "{known}": started().id}
        with pytest.raises(CommandError, match=cause) as caught:
            run("reconcile", *[ids.get(word, word) for word in words])
        assert caught.value.returncode == code
        assert ToolCall.objects.unknown().count() == 2

    def test_one_way_at_a_time(self) -> None:
        with pytest.raises(CommandError, match="not allowed with"):
            run("reconcile", "call_1", "--happened", "--did-not-happen")

    def test_probing_all_goes_on_after_a_failure(self, payment: Tool) -> None:
        payment.lookup(lambda key: Receipt(number=key))
        calls = [in_doubt(), in_doubt(tool="gone"), in_doubt()]
        with pytest.raises(CommandError, match="1 of 3"):
            run("reconcile", "--probe")
        assert [ToolCall.objects.get(pk=call.pk).state for call in calls] == [
            "succeeded",
            "unknown",
            "succeeded",
        ]

    def test_probing_nothing(self) -> None:
        assert run("reconcile", "--probe") == "No call has an unknown outcome.\n"
