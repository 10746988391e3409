"""Starting a run: once a key, at its time, in order of priority, and not into a full queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from kombu import Connection
from kombu.transport.redis import Channel
from pydantic import BaseModel

from ops.launch.broker import Broker
from runs import engine, journal, messages, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from runs.services import DuplicateKey, InvalidStart, NotPossible, QueueFull
from runs.states import RunState
from runs.turns.checkpoint import own_transaction
from tests.together import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
OMAR = "user:omar"
HOUR = timedelta(hours=1)


class Case(BaseModel):
    """An input."""

    order: str = "A1"


@pytest.fixture(autouse=True)
def refunds() -> None:
    @workflow.workflow("test.refund", owner="Support", unit="one refund", expected=timedelta(minutes=10))
    def refund(run: Run, case: Case) -> str:
        return case.order

    @workflow.workflow("test.patient")
    def patient(run: Run, case: Case) -> str:
        run.sleep(3600)
        return case.order


def start(name: str = "test.refund", **options: Any) -> RunRow:
    return services.start_run(name, {}, actor=OMAR, **options)


def sentences(run: RunRow) -> list[str]:
    return list(run.journal.order_by("seq").values_list("sentence", flat=True))


def move(run: RunRow, **moments: datetime | None) -> None:
    """Time passes for one run: its moments lie elsewhere now."""
    RunRow.objects.filter(pk=run.pk).update(**moments)


def past(seconds: float = 1) -> datetime:
    return db_now() - timedelta(seconds=seconds)


class TestKeys:
    def test_it_works(self) -> None:
        first = start(key="order-A1")
        again = start(key="order-A1")
        assert (again.id, again.found, first.found) == (first.id, True, False)
        assert RunRow.objects.count() == 1
        assert first.journal.get().content["key"] == "order-A1"

    def test_a_key_belongs_to_one_workflow(self) -> None:
        assert start(key="A1").id != start("test.patient", key="A1").id

    def test_the_run_that_has_ended_is_returned_too(self) -> None:
        first = start(key="A1")
        engine.advance(first.id, "worker")
        assert start(key="A1").state == RunState.SUCCEEDED

    def test_refuse_names_the_run_and_its_state(self) -> None:
        first = start(key="A1")
        with pytest.raises(DuplicateKey, match=f"for key A1 already: {first.id}, queued") as caught:
            start(key="A1", on_duplicate="refuse")
        assert caught.value.run_id == first.id
        assert RunRow.objects.count() == 1

    def test_start_makes_another_and_the_first_keeps_the_key(self) -> None:
        first = start(key="A1")
        other = start(key="A1", on_duplicate="start")
        assert (other.id != first.id, other.key, other.once) == (True, "A1", None)
        assert start(key="A1").id == first.id

    def test_without_a_key_every_start_is_another_run(self) -> None:
        assert start().id != start().id

    @pytest.mark.parametrize("on_duplicate", ["return", "refuse", "start"])
    def test_processes_that_start_at_once_start_one_run(self, on_duplicate: str) -> None:
        rounds = 10

        def player(number: int) -> str:
            try:
                return start(key=f"round-{number}", on_duplicate=on_duplicate).id
            except DuplicateKey as refused:
                return f"refused {refused.run_id}"

        for number, told in enumerate(at_once(rounds, [player] * 4)):
            runs = {run.id: run for run in RunRow.objects.filter(key=f"round-{number}")}
            holder = [run.id for run in runs.values() if run.once]
            assert len(holder) == 1
            if on_duplicate == "start":
                assert sorted(told) == sorted(runs)
            else:
                word = "" if on_duplicate == "return" else "refused "
                assert sorted(told) == sorted([holder[0]] + [f"{word}{holder[0]}"] * 3)
        assert RunRow.objects.count() == rounds * (4 if on_duplicate == "start" else 1)


class TestLater:
    def test_it_works(self) -> None:
        moment = db_now() + HOUR
        run = start(start_at=moment)
        assert (run.state, run.placed, run.wake_at) == ("waiting", False, moment)
        assert run.waiting_for == f"its start at {moment:%Y-%m-%d %H:%M:%S} UTC"
        assert engine.advance(run.id, "early") is engine.Outcome.NOT_READY
        move(run, start_at=past(), wake_at=past())
        timers.sweep()
        assert engine.advance(run.id, "worker") is engine.Outcome.ENDED
        assert "Its time has come" in sentences(run)
        assert not list(journal.verify(RunRow.objects.get(pk=run.pk), run.journal.order_by("seq")))

    def test_nothing_starts_it_early(self) -> None:
        run = start(start_at=db_now() + HOUR)
        with own_transaction():
            services.wake(services.lock_run(run.id))
        timers.sweep()
        assert services.wake_due(run.id) is False
        assert services.give_places(run.workflow) == 0
        run.refresh_from_db()
        assert (run.state, run.placed, run.wakes) == ("waiting", False, 1)
        assert engine.advance(run.id, "early") is engine.Outcome.NOT_READY

    def test_not_even_a_caretaker_whose_row_says_so(self) -> None:
        run = start(start_at=db_now() + HOUR)
        move(run, wake_at=past())
        timers.sweep()
        run.refresh_from_db()
        assert (run.state, run.placed) == ("waiting", False)
        assert run.waiting_for.startswith("its start at")

    def test_a_pause_before_its_start_does_not_bring_it_forward(self) -> None:
        moment = db_now() + HOUR
        run = start(start_at=moment)
        services.pause_run(run.id, actor=OMAR, reason="wait")
        services.resume_run(run.id, actor=OMAR, reason="go on")
        run.refresh_from_db()
        assert (run.state, run.wake_at, run.placed) == ("waiting", moment, False)

    def test_a_start_in_the_past_is_a_start_now(self) -> None:
        assert start(start_at=past(3600)).state == "queued"


class TestExpectedAndDeadline:
    def test_it_works(self, caplog: pytest.LogCaptureFixture) -> None:
        run = start("test.patient", deadline=db_now() + HOUR)
        engine.advance(run.id, "worker")
        move(run, expected_until=past(), deadline=past())
        with caplog.at_level(logging.WARNING, "runs.services.lateness"):
            assert timers.point_out_late_runs() == 1
        assert timers.point_out_late_runs() == 0
        run.refresh_from_db()
        assert (run.overrun, run.late, run.state) == (True, True, "waiting")
        kinds = list(run.journal.values_list("kind", flat=True))
        assert (kinds.count("run.overrun"), kinds.count("run.late")) == (1, 1)
        assert "test.patient: Is not done in time: wanted by" in caplog.text
        assert not list(journal.verify(run, run.journal.order_by("seq")))

    def test_it_is_expected_by_what_its_workflow_declares(self) -> None:
        run = start()
        assert run.expected_until == run.created_at + timedelta(minutes=10)
        later = start(start_at=db_now() + HOUR)
        assert later.expected_until == later.start_at + timedelta(minutes=10)
        assert start("test.patient").expected_until is None

    def test_a_run_that_has_ended_is_not_pointed_out(self) -> None:
        run = start(deadline=db_now() + HOUR)
        engine.advance(run.id, "worker")
        move(run, expected_until=past(), deadline=past())
        assert timers.point_out_late_runs() == 0
        assert services.point_out(run.id) is False

    def test_a_turn_goes_on_over_it(self) -> None:
        """The caretaker writes into the journal of a run that a worker has in hand."""

        @workflow.workflow("test.busy")
        def busy(run: Run, case: Case) -> str:
            first = run.random()
            assert services.point_out(run.id)
            assert run.random() != first
            return case.order

        run = start("test.busy", deadline=db_now() + HOUR)
        move(run, deadline=past())
        assert engine.advance(run.id, "worker") is engine.Outcome.ENDED
        run.refresh_from_db()
        assert (run.state, run.late) == ("succeeded", True)
        assert not list(journal.verify(run, run.journal.order_by("seq")))


class TestQueueLimit:
    def test_it_works(self, settings: Any) -> None:
        settings.HOLDPOINT_QUEUE_LIMIT = 2
        runs = [start(), start()]
        with pytest.raises(QueueFull, match="2 runs or more wait in queue runs"):
            start()
        assert RunRow.objects.count() == 2
        engine.advance(runs[0].id, "worker")
        start()

    def test_what_is_there_for_the_key_is_still_returned(self, settings: Any) -> None:
        settings.HOLDPOINT_QUEUE_LIMIT = 1
        assert start(key="A1").id == start(key="A1").id

    def test_what_starts_later_is_not_refused(self, settings: Any) -> None:
        settings.HOLDPOINT_QUEUE_LIMIT = 1
        start()
        start(start_at=db_now() + HOUR)

    def test_nought_is_no_limit(self, settings: Any) -> None:
        settings.HOLDPOINT_QUEUE_LIMIT = 0
        assert len({start().id for _ in range(5)}) == 5

    def test_wakes_and_new_runs_of_runs_are_never_refused(self, settings: Any) -> None:
        run = start("test.patient")
        engine.advance(run.id, "worker")
        settings.HOLDPOINT_QUEUE_LIMIT = 1
        start()
        move(run, wake_at=past())
        assert services.wake_due(run.id)
        definition = workflow.get("test.refund")
        with own_transaction():
            child = services.new_run(definition, definition.check_input({}), actor=OMAR, parent_id=run.id)
        assert child.state == "queued"


class TestPriority:
    def test_it_works(self, broker: Broker, settings: Any) -> None:
        settings.CELERY_BROKER_URL = broker.url
        options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
        with Connection(broker.url, transport_options=options) as connection:
            channel: Channel = connection.channel()
            channel.queue_declare("test-priority")
            for priority in (5, 0, 9, 3, 9):
                channel.basic_publish(
                    channel.prepare_message("{}", priority=messages._as_broker_counts(priority)),
                    exchange="",
                    routing_key="test-priority",
                )
            taken = [channel.basic_get("test-priority", no_ack=True) for _ in range(5)]
        assert [9 - one.properties["priority"] for one in taken] == [9, 9, 5, 3, 0]

    def test_a_hint_carries_it_and_so_does_its_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sent: list[tuple[str, str, int]] = []
        monkeypatch.setattr(messages, "send", lambda *told: sent.append(told))
        monkeypatch.setattr(messages, "waiting_in", lambda queue: 0)  # whatever other tests left there
        run = start(priority=8)
        move(run, wake_at=past())
        timers.sweep()
        assert sent == [(run.id, "runs", 8)] * 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"priority": 10}, "priority: write a whole number from 0 to 9"),
            ({"priority": True}, "priority: write a whole number"),
            ({"on_duplicate": "ignore"}, "on_duplicate: write one of return, refuse, start"),
            ({"key": "k" * 201}, "key: it has 201 characters; shorten it to 200"),
            ({"start_at": datetime(2030, 1, 1)}, "start_at: write it with its time zone"),
            ({"deadline": datetime(2030, 1, 1)}, "deadline: write it with its time zone"),
            ({"deadline": datetime(2020, 1, 1, tzinfo=UTC)}, "deadline: it must lie in the future"),
            (
                {
                    "deadline": datetime(2098, 1, 1, tzinfo=UTC),
                    "start_at": datetime(2099, 1, 1, tzinfo=UTC),
                },
                "deadline: it must lie in the future, and after the start",
            ),
        ],
    )
    def test_it_says_what_to_write_instead(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidStart, match=said):
            start(**options)
        assert not RunRow.objects.exists()

    def test_they_are_kinds_of_what_doors_know(self) -> None:
        assert issubclass(InvalidStart, workflow.InvalidInput)
        assert issubclass(DuplicateKey, NotPossible)


class TestPages:
    @pytest.fixture
    def page_of(self) -> Callable[[str], str]:
        ada = User.objects.create_user("ada")
        ada.user_permissions.add(Permission.objects.get(codename="view_run"))
        client = Client()
        client.force_login(ada)

        def page(path: str) -> str:
            answer = client.get(path)
            assert answer.status_code == 200
            return answer.content.decode()

        return page

    def test_it_works(self, page_of: Callable[[str], str]) -> None:
        run = start(key="case 17 <b>", priority=9, deadline=db_now() + HOUR)
        move(run, overrun=True, late=True)
        page = page_of(f"/runs/{run.id}/")
        for shown in (
            "case 17 &lt;b&gt;",
            "not done in time",
            "takes longer than usual",
            "Wanted by",
            "Priority",
        ):
            assert shown in page, shown
        for shown in ("Support", "one refund"):
            assert shown in page, shown
        assert "not done in time" in page_of("/runs/")

    def test_what_waits_for_its_start_says_so(self, page_of: Callable[[str], str]) -> None:
        page = page_of(f"/runs/{start(start_at=db_now() + HOUR).id}/")
        assert "for its start at" in page
        assert "it starts by itself" in page

    def test_nothing_is_shown_that_is_not_declared(self, page_of: Callable[[str], str]) -> None:
        page = page_of(f"/runs/{start('test.patient').id}/")
        for hidden in ("Wanted by", "Expected by", "Priority", "Answers for it", "not done in time"):
            assert hidden not in page, hidden


@pytest.mark.parametrize("queue", ["", "Runs", "runs,agents", "r" * 41])
def test_a_workflow_names_a_queue_that_there_can_be(queue: str) -> None:
    with pytest.raises(ValueError, match="cannot be a queue; use a to z"):

        @workflow.workflow("test.nowhere", queue=queue)
        def nowhere(run: Run, case: Case) -> str:
            return "never"
