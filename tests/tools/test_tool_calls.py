"""A call in doubt is settled once, by somebody who says how they know, and never too early."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django_fsm import TransitionNotAllowed
from pydantic import BaseModel

from tools import ports, services
from tools.canonical import digest, new_id
from tools.clock import db_now
from tools.contract import IdempotencyKey, Tool
from tools.models import ToolCall
from tools.registry import tool
from tools.services import CallNotFound, NotUnknown, SettlementRefused
from tools.states import sources_of
from tools.unknown import CannotLook, Outcome

pytestmark = pytest.mark.django_db


class Receipt(BaseModel):
    number: str


def pay(amount: int, *, key: IdempotencyKey) -> Receipt:
    return Receipt(number=key)


@pytest.fixture
def payment() -> Tool:
    return tool(effect="irreversible", name="test_pay")(pay)


def started(**more: Any) -> ToolCall:
    values = {
        "id": new_id("call"),
        "step_id": new_id("stp"),
        "run_id": "run_1",
        "tool": "test_pay",
        "version": 1,
    }
    values |= {"effect": "irreversible", "key": "k1", "arguments_digest": "d" * 64, "started_at": db_now()}
    return ToolCall.objects.create(**(values | more))


def in_doubt(seconds: float = -1, **more: Any) -> ToolCall:
    return started(state="unknown", not_before=db_now() + timedelta(seconds=seconds), **more)


class Listener:
    """What runs will be: it hears of settlements, after it was asked to lock the run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.before: Callable[[], object] = lambda: None
        monkeypatch.setattr(ports, "lock_run", self.lock)
        monkeypatch.setattr(ports, "on_settled", self.settled)

    def lock(self, run_id: str) -> None:
        self.heard.append(("lock", run_id))
        self.before()

    def settled(self, call: ToolCall) -> None:
        assert transaction.get_connection().in_atomic_block
        self.heard.append((call.id, call.state, str(call.result)))


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    return Listener(monkeypatch)


class TestToolCall:
    @pytest.mark.parametrize(
        ("verb", "state"),
        [("succeed", "succeeded"), ("fail", "failed"), ("refuse", "refused"), ("cancel", "cancelled")],
    )
    def test_an_attempt_ends_once(self, verb: str, state: str) -> None:
        call = started()
        getattr(call, verb)()
        assert call.state == state
        with pytest.raises(TransitionNotAllowed):
            getattr(call, verb)()

    @pytest.mark.parametrize("fields", [None, ["state"], ["note", "state"], ["note"], []])
    def test_the_state_is_read_again_and_not_for_writing(self, fields: list[str] | None) -> None:
        call = started()
        ToolCall.objects.filter(pk=call.pk).update(state="failed", note="seen")
        call.refresh_from_db(fields=fields)
        assert call.state == ("failed" if fields is None or "state" in fields else "started")
        with pytest.raises(AttributeError):
            call.state = "succeeded"

    def test_reading_again_is_one_query(self, django_assert_num_queries: Any) -> None:
        call = started()
        with django_assert_num_queries(1):
            call.refresh_from_db()
            assert call.state == "started"

    def test_the_guard_stays_where_the_row_is_gone(self) -> None:
        call = started()
        ToolCall.objects.filter(pk=call.pk).delete()
        with pytest.raises(ToolCall.DoesNotExist):
            call.refresh_from_db()
        with pytest.raises(AttributeError):
            call.state = "succeeded"

    def test_a_state_left_out_is_read_when_asked_for(self) -> None:
        call = ToolCall.objects.defer("state").get(pk=started().pk)
        assert call.state == "started"
        with pytest.raises(AttributeError):
            call.state = "succeeded"

    def test_the_sources_are_known_for_compare_and_set(self) -> None:
        assert sources_of(ToolCall, "succeed") == ("started",)
        assert sources_of(ToolCall, "settle_as_happened") == ("unknown",)

    def test_an_attempt_is_on_record_once(self) -> None:
        call = started()
        with pytest.raises(IntegrityError), transaction.atomic():
            started(step_id=call.step_id)
        started(step_id=call.step_id, attempt=2)

    def test_unknown_needs_a_not_before_time(self) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            started(state="unknown")


class TestSettle:
    def test_it_works(self, payment: Tool, listener: Listener) -> None:
        call = in_doubt()
        services.settle(call.id, "happened", {"number": "77"}, note="Seen at the bank. ", by="user:olga")
        kept = ToolCall.objects.get(pk=call.pk)
        assert (kept.state, kept.settled_by, kept.note) == (
            "succeeded",
            "user:olga",
            "Seen at the bank.",
        )
        assert kept.result_digest == digest({"number": "77"})
        assert kept.finished_at is not None
        assert listener.heard == [("lock", "run_1"), (call.id, "succeeded", "{'number': '77'}")]

    def test_it_did_not_happen(self, listener: Listener) -> None:
        call = in_doubt(tool="a_tool_that_is_gone")
        services.settle(call.id, Outcome.DID_NOT_HAPPEN, note="The bank says so", by="user:olga")
        assert ToolCall.objects.get(pk=call.pk).state == "failed"
        assert listener.heard[-1] == (call.id, "failed", "None")

    @pytest.mark.parametrize("outcome", [Outcome.HAPPENED, Outcome.DID_NOT_HAPPEN])
    def test_never_before_its_time(self, outcome: Outcome, payment: Tool, listener: Listener) -> None:
        call = in_doubt(seconds=600)
        assert call.not_before is not None
        with pytest.raises(SettlementRefused, match=f"until {call.not_before:%Y-%m-%d %H:%M:%S} UTC"):
            services.settle(call.id, outcome, {"number": "7"}, note="I am sure", by="user:olga")
        assert ToolCall.objects.get(pk=call.pk).state == "unknown"
        assert listener.heard == [("lock", "run_1")]

    @pytest.mark.parametrize(
        ("outcome", "result", "note", "words"),
        [
            ("happened", {"number": "7"}, "  ", "how you know"),
            ("happened", None, "seen", "Give the result"),
            ("happened", {"num": 7}, "seen", "number is missing"),
            ("did_not_happen", {"number": "7"}, "seen", "leave the result out"),
        ],
    )
    def test_it_refuses(self, payment: Tool, outcome: str, result: Any, note: str, words: str) -> None:
        call = in_doubt()
        with pytest.raises(SettlementRefused, match=words):
            services.settle(call.id, outcome, result, note=note, by="user:olga")
        assert ToolCall.objects.get(pk=call.pk).state == "unknown"

    def test_a_result_needs_its_tool_to_be_checked(self) -> None:
        with pytest.raises(SettlementRefused, match="cannot be checked"):
            services.settle(in_doubt(tool="gone").id, "happened", 1, note="seen", by="user:olga")

    def test_nothing_to_find_and_nothing_to_settle(self, payment: Tool) -> None:
        with pytest.raises(CallNotFound, match="tools unknown"):
            services.settle("call_none", "did_not_happen", note="x", by="user:olga")
        with pytest.raises(NotUnknown, match="is started: there is nothing"):
            services.settle(started().id, "did_not_happen", note="x", by="user:olga")
        call = in_doubt()
        services.settle(call.id, "did_not_happen", note="x", by="user:olga")
        with pytest.raises(NotUnknown, match="is failed, settled by user:olga"):
            services.settle(call.id, "did_not_happen", note="x", by="user:ana")

    def test_of_two_at_once_the_second_learns_of_it(self, payment: Tool, listener: Listener) -> None:
        call = in_doubt()
        listener.before = lambda: ToolCall.objects.filter(pk=call.pk).update(
            state="failed", settled_by="user:ana"
        )
        with pytest.raises(NotUnknown, match="is failed, settled by user:ana"):
            services.settle(call.id, "happened", {"number": "7"}, note="seen", by="user:olga")
        assert len(listener.heard) == 1

    def test_what_the_listener_cannot_record_is_not_settled(
        self, payment: Tool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(call: ToolCall) -> None:
            raise RuntimeError("the journal is full")

        monkeypatch.setattr(ports, "on_settled", fail)
        call = in_doubt()
        with pytest.raises(RuntimeError):
            services.settle(call.id, "did_not_happen", note="x", by="user:olga")
        assert ToolCall.objects.get(pk=call.pk).state == "unknown"


class TestProbe:
    @pytest.mark.parametrize("seconds", [-1, 600])
    def test_found_is_proof_at_any_time(self, payment: Tool, listener: Listener, seconds: float) -> None:
        payment.lookup(lambda key: Receipt(number=key))
        call = in_doubt(seconds)
        assert services.probe(call.id).outcome is Outcome.HAPPENED
        kept = ToolCall.objects.get(pk=call.pk)
        assert (kept.state, kept.settled_by) == ("succeeded", "caretaker")
        assert "found it" in kept.note
        assert listener.heard[-1] == (call.id, "succeeded", "{'number': 'k1'}")

    def test_not_found_is_a_hint(self, payment: Tool) -> None:
        payment.lookup(lambda key: None)
        call = in_doubt()
        finding = services.probe(call.id)
        assert (finding.outcome, finding.sentence.endswith("Settle it by hand.")) == (None, True)
        assert ToolCall.objects.get(pk=call.pk).state == "unknown"

    @pytest.mark.parametrize(("seconds", "state"), [(600, "unknown"), (-1, "failed")])
    def test_not_found_by_a_final_lookup_is_proof_in_time(
        self, payment: Tool, seconds: float, state: str
    ) -> None:
        payment.lookup(final=True)(lambda key: None)
        call = in_doubt(seconds)
        services.probe(call.id, by="user:olga")
        assert ToolCall.objects.get(pk=call.pk).state == state

    def test_no_lookup_and_no_answer(self, payment: Tool) -> None:
        call = in_doubt()
        with pytest.raises(CannotLook, match="has no lookup"):
            services.probe(call.id)

        @payment.lookup
        def _(key: str) -> Receipt:
            raise TimeoutError

        with pytest.raises(CannotLook, match="transient"):
            services.probe(call.id)
        assert ToolCall.objects.get(pk=call.pk).state == "unknown"


@pytest.mark.django_db(transaction=True)
class TestPeopleAtOnce:
    def test_one_settles_and_the_others_learn_of_it(self, payment: Tool) -> None:
        call = in_doubt()
        start = threading.Barrier(4)

        def settle(who: int) -> str:
            start.wait(10)
            try:
                return str(services.settle(call.id, "did_not_happen", note="x", by=f"user:{who}").settled_by)
            except NotUnknown:
                return "late"
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as people:
            answers = list(people.map(settle, range(4)))
        assert answers.count("late") == 3
        assert ToolCall.objects.get(pk=call.pk).settled_by in answers
