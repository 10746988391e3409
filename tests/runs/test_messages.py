"""Messages from outside: before, while and after a run waits for them; taken once, typed, never lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from runs import engine, journal, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Message, Step
from runs.models import Run as RunRow
from runs.steps.message import InvalidMessage, TimedOut

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


class Payment(BaseModel):
    """What the bank says."""

    amount: int
    currency: str = "EUR"


@pytest.fixture
def waiting() -> RunRow:
    """A run that waits for a payment."""

    @workflow.workflow("t.payment")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        paid = run.wait_for("paid", Payment)
        return [paid.amount, paid.currency]

    run = services.start_run("t.payment", {}, actor="user:ana")
    assert engine.advance(run.id, "wrk_a") is engine.Outcome.WAITING
    return run


def send(run: RunRow, payload: Any, name: str = "paid", **more: Any) -> Message:
    return services.send_message(run.id, name, payload, actor="user:bank", **more)


def finish(run: RunRow) -> Any:
    while True:
        outcome = engine.advance(run.id, "wrk_b")
        run.refresh_from_db()
        if run.ended or outcome is engine.Outcome.NOT_READY:
            assert list(journal.verify(run, run.journal.order_by("seq"))) == []
            return run.output


def test_it_works(waiting: RunRow) -> None:
    waiting.refresh_from_db()
    assert waiting.waiting_for == "the message paid"
    message = send(waiting, {"amount": 5})
    assert finish(waiting) == [5, "EUR"]
    message.refresh_from_db()
    step = waiting.steps.get()
    assert (step.kind, step.name, step.state) == ("message", "paid", "succeeded")
    assert step.result == {"amount": 5, "currency": "EUR"}
    assert (message.taken_by, message.sender) == (step.id, "user:bank")
    kinds = list(waiting.journal.order_by("seq").values_list("kind", flat=True))
    assert kinds.count("message.received") == kinds.count("message.taken") == 1


def test_messages_that_came_before_are_taken_oldest_first() -> None:
    @workflow.workflow("t.buffered")
    def flow(run: Run, case: dict[str, Any]) -> list[int]:
        return [run.wait_for("number", int) for _ in range(3)]

    run = services.start_run("t.buffered", {}, actor="user:ana")
    for number in (3, 1, 2):
        send(run, number, "number")
    assert finish(run) == [3, 1, 2]
    assert not Message.objects.filter(run=run, taken_by="").exists()


def test_a_message_of_another_name_wakes_nobody(waiting: RunRow) -> None:
    send(waiting, 1, "other")
    waiting.refresh_from_db()
    assert (waiting.state, waiting.wakes) == ("waiting", 0)
    send(waiting, {"amount": 1})
    waiting.refresh_from_db()
    assert (waiting.state, waiting.wakes) == ("queued", 1)


def test_the_same_key_is_one_message(waiting: RunRow) -> None:
    first = send(waiting, {"amount": 5}, key="k1")
    before = waiting.journal.count()
    again = send(waiting, {"amount": 7}, key="k1")
    assert again.pk == first.pk
    assert waiting.journal.count() == before
    assert finish(waiting) == [5, "EUR"]
    assert send(waiting, {"amount": 5}, key="k1").pk == first.pk, "also when the run has ended"


def test_one_that_comes_while_the_run_goes_to_wait_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow.workflow("t.late")
    def flow(run: Run, case: dict[str, Any]) -> int:
        return run.wait_for("number", int)

    run = services.start_run("t.late", {}, actor="user:ana")
    real, sent = engine._wait, []

    def just_before(turn: Any, reason: Any) -> bool:
        if not sent:
            sent.append(send(run, 9, "number"))
        return real(turn, reason)

    monkeypatch.setattr(engine, "_wait", just_before)
    assert engine.advance(run.id, "wrk_a") is engine.Outcome.ENDED
    run.refresh_from_db()
    assert (sent[0].name, run.output) == ("number", 9)


def test_branches_that_wait_for_one_name_take_one_each() -> None:
    @workflow.workflow("t.two")
    def flow(run: Run, case: dict[str, Any]) -> list[int]:
        return run.gather(run.later(run.wait_for, "n", int), run.later(run.wait_for, "n", int))

    run = services.start_run("t.two", {}, actor="user:ana")
    for number in (1, 2):
        send(run, number, "n")
    assert sorted(finish(run)) == [1, 2]
    assert Message.objects.filter(run=run).exclude(taken_by="").values("taken_by").distinct().count() == 2


def test_nobody_sends_it_in_time() -> None:
    @workflow.workflow("t.timeout")
    def flow(run: Run, case: dict[str, Any]) -> str:
        try:
            run.wait_for("paid", timeout=timedelta(hours=1))
        except TimedOut as late:
            assert late.until is not None
            return f"{late}"
        return "paid"

    run = services.start_run("t.timeout", {}, actor="user:ana")
    assert engine.advance(run.id, "wrk_a") is engine.Outcome.WAITING
    step = run.steps.get()
    assert step.due_at is not None
    assert abs((step.due_at - db_now()).total_seconds() - 3600) < 60
    overdue(run)
    message = send(run, 1)
    assert finish(run) == "Nobody sent the message paid in time"
    message.refresh_from_db()
    assert message.taken_by == "", "one sent after the deadline is left for whoever waits next"


def test_one_sent_in_time_counts_though_the_run_looks_late() -> None:
    @workflow.workflow("t.intime")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        return run.wait_for("paid", timeout=3600)

    run = services.start_run("t.intime", {}, actor="user:ana")
    engine.advance(run.id, "wrk_a")
    message = send(run, "in time")
    past = db_now() - timedelta(days=1)
    Step.objects.filter(run=run).update(due_at=past)
    Message.objects.filter(pk=message.pk).update(sent_at=past - timedelta(seconds=1))
    assert finish(run) == "in time"


def overdue(run: RunRow) -> None:
    past = db_now() - timedelta(seconds=1)
    Step.objects.filter(run=run).update(due_at=past)
    RunRow.objects.filter(pk=run.pk).update(wake_at=past)
    assert services.wake_due(run.id)


class TestRefused:
    def test_one_that_does_not_fit_is_refused_at_the_door(self, waiting: RunRow) -> None:
        before = waiting.journal.count()
        with pytest.raises(services.InvalidMessage) as caught:
            send(waiting, {"amount": "much"})
        assert caught.value.problems == ["amount should be a whole number"]
        assert not Message.objects.exists()
        assert waiting.journal.count() == before

    def test_one_that_came_too_early_to_know_is_told_to_the_workflow(self) -> None:
        @workflow.workflow("t.misfit")
        def flow(run: Run, case: dict[str, Any]) -> list[Any]:
            try:
                run.wait_for("paid", Payment)
            except InvalidMessage as misfit:
                return [
                    misfit.payload,
                    misfit.problems,
                    run.wait_for("paid", Payment).amount,
                    misfit.message_id,
                ]
            return []

        run = services.start_run("t.misfit", {}, actor="user:ana")
        early = send(run, {"amount": None})
        send(run, {"amount": 2})
        assert finish(run) == [{"amount": None}, ["amount should be a whole number"], 2, early.pk]
        early.refresh_from_db()
        assert early.taken_by == run.steps.get(path="1").id
        assert run.steps.get(path="1").state == "failed"

    def test_a_run_that_ended(self, waiting: RunRow) -> None:
        send(waiting, {"amount": 1})
        finish(waiting)
        with pytest.raises(services.NotPossible, match=r"has succeeded \(at .+, by a worker\)"):
            send(waiting, {"amount": 1})
        assert Message.objects.count() == 1

    def test_no_such_run(self) -> None:
        with pytest.raises(LookupError, match="There is no run run_none"):
            services.send_message("run_none", "paid", 1, actor="user:ana")

    @pytest.mark.parametrize(
        ("name", "payload", "key"),
        [
            ("", 1, ""),
            ("a b", 1, ""),
            ("n" * 101, 1, ""),
            ("a\x00", 1, ""),
            ("paid", float("nan"), ""),
            ("paid", {1, 2}, ""),
            ("paid", "x" * 300_000, ""),
            ("paid", 1, "k" * 201),
            ("paid", 1, "k\x00"),
        ],
    )
    def test_what_cannot_be_kept(self, waiting: RunRow, name: str, payload: Any, key: str) -> None:
        with pytest.raises(services.InvalidMessage):
            services.send_message(waiting.id, name, payload, actor="user:ana", key=key)
        assert not Message.objects.exists()

    def test_text_that_no_database_keeps_is_made_harmless(self) -> None:
        @workflow.workflow("t.text")
        def flow(run: Run, case: dict[str, Any]) -> str:
            return run.wait_for("text", str)

        run = services.start_run("t.text", {}, actor="user:ana")
        send(run, "a\x00b\ud800", "text")
        assert finish(run) == "a\ufffdb\ufffd"

    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
    def test_a_timeout_that_is_none(self, timeout: float) -> None:
        @workflow.workflow("t.zero")
        def flow(run: Run, case: dict[str, Any]) -> str:
            return str(run.wait_for("text", str, timeout=timeout))

        run = services.start_run("t.zero", {}, actor="user:ana")
        assert "a timeout must be a number of seconds above 0" in finish(run)["error"]["message"]


class TestTooMany:
    """A sender is refused before the table fills with what nobody takes."""

    @pytest.fixture(autouse=True)
    def few(self, settings: Any) -> None:
        settings.HOLDPOINT_MESSAGE_LIMIT = 2

    def test_that_the_run_has_not_taken(self, waiting: RunRow) -> None:
        for number in range(2):
            send(waiting, number, name="other")
        before = RunRow.objects.get(pk=waiting.pk).head_seq
        with pytest.raises(services.TooManyMessages, match="HOLDPOINT_MESSAGE_LIMIT is 2: send it again"):
            send(waiting, 3, name="another")
        assert Message.objects.count() == 2
        assert RunRow.objects.get(pk=waiting.pk).head_seq == before, "nothing was written"

    def test_what_the_run_waits_for_comes_through(self, waiting: RunRow) -> None:
        for number in range(2):
            send(waiting, number, name="other")
        send(waiting, {"amount": 5})
        with pytest.raises(services.TooManyMessages):
            send(waiting, {"amount": 6})
        assert finish(waiting) == [5, "EUR"]

    def test_the_same_one_again_is_no_further_one(self, waiting: RunRow) -> None:
        first = send(waiting, 1, name="other", key="one")
        send(waiting, 2, name="other")
        assert send(waiting, 1, name="other", key="one").id == first.id

    def test_taking_makes_room(self, waiting: RunRow) -> None:
        send(waiting, 1, name="other")
        send(waiting, {"amount": 5})
        with pytest.raises(services.TooManyMessages):
            send(waiting, 2, name="other")
        Message.objects.filter(name="paid").update(taken_by="stp_1")
        send(waiting, 2, name="other")

    def test_nought_is_no_limit(self, waiting: RunRow, settings: Any) -> None:
        settings.HOLDPOINT_MESSAGE_LIMIT = 0
        for number in range(4):
            send(waiting, number, name="other")
