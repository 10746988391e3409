"""What people say about a call in doubt: recorded, confirmed by a second person, never by whoever asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from tests.tools.test_tool_calls import in_doubt, pay
from tools import ports, services
from tools.contract import Tool
from tools.models import Outcome, Settlement, ToolCall
from tools.registry import tool
from tools.said import standing_of
from tools.services import MayNotSettle, SaidMeanwhile, SettlementRefused
from tools.stakes import Stake, declared_stake, needs_two, record_stake, stake_of

pytestmark = pytest.mark.django_db(transaction=True)
PAID = {"number": "77"}


@pytest.fixture(autouse=True)
def payment() -> Tool:
    declared = tool(effect="irreversible", name="test_pay", timeout=5)(pay)
    declared.facts(lambda call: {"amount": call.arguments["amount"], "currency": "EUR"})
    return declared


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sentences that the journal was given, and the calls that were settled."""
    told: list[str] = []
    monkeypatch.setattr(ports, "on_said", lambda call, by, sentence, content: told.append(sentence))
    monkeypatch.setattr(ports, "on_settled", lambda call: told.append(f"settled by {call.settled_by}"))
    return told


@pytest.fixture
def above(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two people above 500 EUR; what a call was asked to pay is what this is set to."""
    settings.HOLDPOINT_TWO_PEOPLE_ABOVE = (Decimal(500), "EUR")
    asked = {"amount": "900.00"}
    monkeypatch.setattr(ports, "arguments_of", lambda call: asked)
    return asked


def say(call: ToolCall, who: str, outcome: str, result: Any = None, **more: Any) -> ToolCall:
    more = {"note": f"{who} looked", **more}
    return services.settle(call.id, outcome, result, by=f"user:{who}", **more)


def state_of(call: ToolCall) -> str:
    return ToolCall.objects.get(pk=call.pk).state


class TestOnePerson:
    def test_it_works(self, heard: list[str]) -> None:
        call = in_doubt()
        settled = say(call, "olga", "happened", PAID, reference=" T-17 ")
        said = Settlement.objects.get()
        assert (said.call_id, said.run_id, said.by, said.outcome) == (
            call.id,
            "run_1",
            "user:olga",
            "happened",
        )
        assert (said.result, said.reference, said.note, said.confirms) == (PAID, "T-17", "olga looked", "")
        assert settled.settlement == said
        assert heard == ["settled by user:olga"]

    def test_whoever_cannot_tell_leaves_it_in_doubt(self, heard: list[str]) -> None:
        call = in_doubt(600)  # also while it may still be sent: nothing is settled by it
        say(call, "olga", "cannot_tell")
        assert state_of(call) == "unknown"
        assert standing_of(call.id).second_look
        assert heard == ["olga cannot tell whether test_pay happened and asks for a second look. olga looked"]

    def test_they_may_find_out_later(self, heard: list[str]) -> None:
        call = in_doubt()
        say(call, "olga", "cannot_tell")
        say(call, "olga", "did_not_happen")
        assert state_of(call) == "failed"
        assert not standing_of(call.id).second_look

    def test_a_result_only_if_it_happened(self) -> None:
        with pytest.raises(SettlementRefused, match="leave the result out"):
            say(in_doubt(), "olga", "cannot_tell", PAID)
        assert not Settlement.objects.exists()


class TestWhoMay:
    @pytest.mark.parametrize("outcome", Outcome)
    def test_not_the_person_who_asked_for_the_run(
        self, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ports, "requester_of", lambda run_id: "user:olga")
        call = in_doubt()
        result = PAID if outcome == "happened" else None
        with pytest.raises(MayNotSettle, match="somebody else must say"):
            say(call, "olga", outcome, result)
        assert not Settlement.objects.exists()
        say(call, "ana", outcome, result)

    @pytest.mark.parametrize("by", ["caretaker", "token:tok_1", "worker:w", "agent:a", ""])
    def test_nobody_but_people(self, by: str) -> None:
        with pytest.raises(MayNotSettle, match="Only a person"):
            services.settle(in_doubt().id, "did_not_happen", note="n", by=by)

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"note": " "}, "how you know"),
            ({"note": "n" * 4001}, "shorten it to 4000"),
            ({"reference": "r" * 201}, "shorten it to 200"),
        ],
    )
    def test_what_is_written(self, more: dict[str, str], words: str) -> None:
        with pytest.raises(SettlementRefused, match=words):
            say(in_doubt(), "olga", "did_not_happen", **more)

    def test_what_no_database_keeps(self) -> None:
        say(in_doubt(), "olga", "did_not_happen", note="a\0b\ud800")
        assert Settlement.objects.get().note == "a\ufffdb\ufffd"


class TestStalePages:
    def test_somebody_said_something_meanwhile(self) -> None:
        call = in_doubt()
        say(call, "ana", "cannot_tell", seen="")
        with pytest.raises(SaidMeanwhile, match=r"ana said at 20.* UTC: they cannot tell\. Read that"):
            say(call, "olga", "did_not_happen", seen="")
        assert Settlement.objects.count() == 1
        say(call, "olga", "did_not_happen", seen=standing_of(call.id).last)
        with pytest.raises(services.NotUnknown, match=r"is failed, settled by user:olga at 20.* UTC: there"):
            say(call, "ana", "did_not_happen", seen="")

    def test_a_page_of_nobody_knows_where(self) -> None:
        with pytest.raises(SaidMeanwhile, match="nothing has been said yet"):
            say(in_doubt(), "olga", "cannot_tell", seen="set_other")


class TestTwoPeople:
    def test_a_second_person_confirms(self, above: dict[str, str], heard: list[str]) -> None:
        call = in_doubt()
        assert say(call, "ana", "happened", PAID).state == "unknown"
        with pytest.raises(SettlementRefused, match="somebody else must confirm"):
            say(call, "ana", "happened", PAID)
        assert say(call, "olga", "happened", PAID).state == "succeeded"
        first, second = Settlement.objects.all()
        assert second.confirms == first.id
        assert heard == [
            "ana found that test_pay happened; another person must confirm it. ana looked",
            "settled by user:olga",
        ]

    @pytest.mark.parametrize(
        ("outcome", "result"), [("did_not_happen", None), ("happened", {"number": "78"})]
    )
    def test_a_different_answer_is_a_conflict(
        self, outcome: str, result: Any, above: dict[str, str], heard: list[str]
    ) -> None:
        call = in_doubt()
        say(call, "ana", "happened", PAID)
        assert say(call, "olga", outcome, result).state == "unknown"
        assert standing_of(call.id).conflict
        assert "olga found that test_pay" in heard[-1] and "ana found otherwise" in heard[-1]
        assert say(call, "ben", outcome, result).state == ("succeeded" if result else "failed")

    def test_whoever_changes_their_mind_ends_the_conflict(self, above: dict[str, str]) -> None:
        call = in_doubt()
        say(call, "ana", "happened", PAID)
        say(call, "olga", "did_not_happen")
        assert say(call, "ana", "did_not_happen").state == "failed"

    def test_whoever_takes_back_what_they_said_confirms_nothing(self, above: dict[str, str]) -> None:
        call = in_doubt()
        say(call, "ana", "happened", PAID)
        say(call, "ana", "cannot_tell")
        assert say(call, "olga", "happened", PAID).state == "unknown"

    def test_a_lookup_is_proof_whatever_people_say(self, above: dict[str, str], payment: Tool) -> None:
        payment.lookup(lambda key: PAID)
        call = in_doubt()
        say(call, "ana", "did_not_happen")
        services.probe(call.id)
        assert state_of(call) == "succeeded"

    def test_the_limit_itself_takes_one(self, above: dict[str, str]) -> None:
        above["amount"] = "500.00"
        assert say(in_doubt(), "ana", "did_not_happen").state == "failed"


class TestStakes:
    @pytest.mark.parametrize(
        ("facts", "stake", "two"),
        [
            ({"amount": "500.01", "currency": "EUR"}, "500.01 EUR", True),
            ({"amount": "-1200", "currency": "EUR"}, "1,200.00 EUR", True),
            ({"amount": 500, "currency": "EUR"}, "500.00 EUR", False),
            ({"amount": 1.5, "currency": "EUR"}, "1.50 EUR", False),
            ({"amount": 1, "currency": "USD"}, "1.00 USD", True),
            ({"amount": 1}, "1.00", True),
            ({"amount": True, "currency": "EUR"}, "", True),
            ({"amount": "much", "currency": "EUR"}, "", True),
            ({"amount": "1e400", "currency": "EUR"}, "", True),
            ({"amount": "NaN", "currency": "EUR"}, "", True),
            ({}, "", True),
        ],
    )
    def test_what_its_facts_say(
        self, facts: dict[str, Any], stake: str, two: bool, above: dict[str, str], payment: Tool
    ) -> None:
        payment._hooks["facts"] = lambda call: facts
        found = declared_stake(in_doubt())
        assert (str(found), needs_two(found)) == (stake, two)

    def test_facts_that_break(self, above: dict[str, str], payment: Tool) -> None:
        payment._hooks["facts"] = lambda call: 1 / 0
        assert stake_of(in_doubt()) == Stake()

    def test_it_is_asked_once(self, above: dict[str, str], payment: Tool) -> None:
        call = in_doubt()
        record_stake(call, call.started_at)
        payment._hooks["facts"] = lambda call: {"amount": 1, "currency": "EUR"}
        record_stake(call, call.started_at)
        assert str(stake_of(call)) == "900.00 EUR"

    def test_without_a_limit_one_person_does(self, settings: Any) -> None:
        settings.HOLDPOINT_TWO_PEOPLE_ABOVE = None
        assert not needs_two(Stake())


class TestTheRows:
    @pytest.mark.parametrize("change", [{"note": "x"}, {"by": "user:eve"}, {"result": {"number": "1"}}])
    def test_they_stay_as_they_are(self, change: dict[str, Any]) -> None:
        say(in_doubt(), "olga", "happened", PAID)
        with pytest.raises(DatabaseError, match="stays as it was said"), transaction.atomic():
            Settlement.objects.update(**change)
        assert Settlement.objects.get().note == "olga looked"

    def test_a_result_may_be_purged(self) -> None:
        say(in_doubt(), "olga", "happened", PAID)
        assert Settlement.objects.update(result=None) == 1
