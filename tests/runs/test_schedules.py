"""Schedules: each moment starts its run once, and what starts nothing says why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission, User
from django_celery_beat.models import CrontabSchedule
from pydantic import BaseModel

from runs import engine, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Schedule
from tests.together import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


class Case(BaseModel):
    """An input."""

    order: str


@pytest.fixture(autouse=True)
def refunds() -> None:
    @workflow.workflow("test.refund")
    def refund(run: Run, case: Case) -> str:
        run.sleep(3600)
        return case.order


@pytest.fixture(autouse=True)
def omar() -> User:
    omar = User.objects.create_user("omar")
    omar.user_permissions.add(*Permission.objects.filter(codename__in=["start_run", "activate_workflow"]))
    return omar


def schedule(**values: Any) -> Schedule:
    usual = {"name": "daily", "workflow": "test.refund", "input": {"order": "A1"}, "owner": "user:omar"}
    clock = {"every_seconds": 60} if "crontab" not in values else {}
    return Schedule.objects.create(**{**usual, **clock, **values})


def due(minutes: float = 0.5) -> datetime:
    return db_now() - timedelta(minutes=minutes)


def runs() -> list[RunRow]:
    return list(RunRow.objects.order_by("created_at"))


class TestSchedule:
    def test_it_works(self) -> None:
        made = schedule(next_at=due(), intent="What is left")
        assert timers.start_scheduled_runs() == 1
        assert timers.start_scheduled_runs() == 0
        (run,) = runs()
        moment = made.next_at
        made.refresh_from_db()
        assert (run.requester, run.source, run.intent) == ("user:omar", "schedule", "What is left")
        assert run.key == f"schedule:daily:{moment.isoformat()}"
        assert (made.last_run, made.last_at, made.problem) == (run.id, moment, "")
        assert made.next_at == moment + timedelta(seconds=60)

    def test_a_new_one_waits_for_its_first_moment(self) -> None:
        row = CrontabSchedule.objects.create(minute="0", hour="8", timezone=ZoneInfo("Europe/Berlin"))
        made = schedule(crontab=row)
        assert timers.start_scheduled_runs() == 0
        made.refresh_from_db()
        assert made.next_at is not None
        local = made.next_at.astimezone(ZoneInfo("Europe/Berlin"))
        assert (local.hour, local.minute) == (8, 0)
        assert db_now() < made.next_at <= db_now() + timedelta(hours=25)
        assert runs() == []

    def test_of_many_missed_moments_the_latest_is_started(self) -> None:
        made = schedule(next_at=due(minutes=10.5))
        began = made.next_at
        assert timers.start_scheduled_runs() == 1
        made.refresh_from_db()
        assert made.last_at == began + timedelta(minutes=10)
        assert made.next_at == began + timedelta(minutes=11)
        assert len(runs()) == 1

    def test_a_crontab_that_was_missed_too(self) -> None:
        made = schedule(crontab=CrontabSchedule.objects.create(), next_at=due(minutes=60 * 24 * 40))
        before = db_now().replace(second=0, microsecond=0)
        assert timers.start_scheduled_runs() == 1
        made.refresh_from_db()
        assert before <= made.last_at <= db_now()

    def test_a_moment_is_left_out_while_the_last_run_goes_on(self) -> None:
        made = schedule(next_at=due())
        timers.start_scheduled_runs()
        (run,) = runs()
        Schedule.objects.update(next_at=due())
        assert timers.start_scheduled_runs() == 0
        made.refresh_from_db()
        assert made.problem.endswith(f"was left out: its last run, {run.id}, is queued.")
        assert made.next_at > db_now()
        services.cancel_run(run.id, actor="user:omar", reason="done by hand")
        Schedule.objects.update(next_at=due())
        assert timers.start_scheduled_runs() == 1
        made.refresh_from_db()
        assert made.problem == ""

    def test_or_not_if_that_is_wanted(self) -> None:
        schedule(next_at=due(), skip_while_running=False)
        timers.start_scheduled_runs()
        Schedule.objects.update(next_at=due(0.2))
        assert timers.start_scheduled_runs() == 1
        assert len(runs()) == 2

    def test_one_that_is_off_starts_nothing(self) -> None:
        schedule(next_at=due(), enabled=False)
        assert timers.start_scheduled_runs() == 0
        assert runs() == []

    def test_a_changed_crontab_moves_its_schedules(self) -> None:
        row = CrontabSchedule.objects.create(minute="0", hour="8")
        made = schedule(crontab=row)
        timers.start_scheduled_runs()
        row.hour = "9"
        row.save()
        assert timers.start_scheduled_runs() == 0
        made.refresh_from_db()
        assert made.next_at is not None
        assert made.next_at.hour == 9

    def test_processes_that_look_at_once_start_each_moment_once(self) -> None:
        rounds = 8
        moment = db_now() - timedelta(days=1)
        made = [schedule(name=f"s{n}", every_seconds=10**8, next_at=moment) for n in range(rounds)]

        def player(number: int) -> bool:
            return services.start_scheduled(made[number].pk)

        assert [sum(told) for told in at_once(rounds, [player] * 4)] == [1] * rounds
        assert len(runs()) == rounds

    def test_a_moment_that_is_due_again_is_not_started_again(self) -> None:
        """Its key holds even where the row was set back."""
        made = schedule(next_at=due(), skip_while_running=False)
        moment = made.next_at
        timers.start_scheduled_runs()
        Schedule.objects.update(next_at=moment)
        assert timers.start_scheduled_runs() == 0
        assert len(runs()) == 1


class TestProblems:
    def problem_of(self, **values: Any) -> str:
        made = schedule(next_at=due(), **values)
        assert timers.start_scheduled_runs() == 0
        made.refresh_from_db()
        assert runs() == []
        return made.problem

    def test_an_input_that_does_not_fit(self) -> None:
        assert "started nothing. The input does not fit test.refund: order" in self.problem_of(input={})

    def test_a_version_that_nobody_activated(self, settings: Any) -> None:
        settings.HOLDPOINT_ACTIVATION = True
        assert "No version of test.refund is active" in self.problem_of()

    def test_a_full_queue(self, settings: Any) -> None:
        first = services.start_run("test.refund", {"order": "A"}, actor="user:omar")
        settings.HOLDPOINT_QUEUE_LIMIT = 1
        made = schedule(next_at=due())
        timers.start_scheduled_runs()
        made.refresh_from_db()
        assert "1 runs or more wait in queue runs" in made.problem
        assert made.next_at > db_now()
        engine.advance(first.id, "worker")
        Schedule.objects.update(next_at=due())
        assert timers.start_scheduled_runs() == 1

    def test_an_owner_who_may_not_start_runs(self, omar: User) -> None:
        omar.is_active = False
        omar.save()
        assert self.problem_of().startswith("omar may not start runs")

    def test_code_that_fails_is_a_problem_of_its_schedule_alone(self) -> None:
        def broken(case: Case) -> str:
            raise KeyError("no such thing")

        @workflow.workflow("test.broken", at_most_per_key=1, limit_key=broken)
        def work(run: Run, case: Case) -> str:
            return case.order

        assert "KeyError" in self.problem_of(workflow="test.broken")

    def test_a_workflow_that_is_not_here_stays_due_for_whoever_knows_it(self) -> None:
        assert "no workflow called test.later" in self.problem_of(workflow="test.later")

        @workflow.workflow("test.later")
        def later(run: Run, case: Case) -> str:
            return case.order

        assert timers.start_scheduled_runs() == 1

    def test_a_day_that_never_comes(self) -> None:
        row = CrontabSchedule.objects.create(day_of_month="31", month_of_year="2")
        made = schedule(crontab=row)
        timers.start_scheduled_runs()
        made.refresh_from_db()
        assert (made.next_at, made.problem) == (None, "There is no such day: it never comes.")
