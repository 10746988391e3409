"""Schedules are edited, and versions activated, in the admin: by who may, with a reason, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from pydantic import BaseModel

from runs import timers, workflow
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Schedule, WorkflowVersion

pytestmark = pytest.mark.django_db(transaction=True)
LIST, ADD = "admin:runs_schedule_changelist", "admin:runs_schedule_add"


class Case(BaseModel):
    """An input."""

    order: str
    amount: int = 1


@pytest.fixture(autouse=True)
def refunds() -> None:
    @workflow.workflow("test.refund")
    def refund(run: Run, case: Case) -> str:
        return case.order


def signed_in(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def omar() -> Client:
    acts = ("add_schedule", "change_schedule", "view_schedule", "start_run")
    return signed_in("omar", *acts, "view_workflowversion", "activate_workflow")


def filled(**values: Any) -> dict[str, Any]:
    usual = {"name": "daily", "workflow": "test.refund", "input": '{"order": "A1"}', "every_seconds": "60"}
    return {**usual, "enabled": "on", "reason": "Every minute", **values}


class TestSchedules:
    def test_it_works(self, omar: Client) -> None:
        assert omar.post(reverse(ADD), filled()).status_code == 302
        made = Schedule.objects.get()
        assert (made.owner, made.input, made.enabled) == ("user:omar", {"order": "A1"}, True)
        kept = made.history.get()
        assert (kept.actor, kept.history_change_reason, kept.history_type) == (
            "user:omar",
            "Every minute",
            "+",
        )
        assert omar.get(reverse(LIST)).status_code == 200
        timers.sweep()
        Schedule.objects.update(next_at="2026-01-01T00:00:00Z")
        assert timers.start_scheduled_runs() == 1
        page = omar.get(reverse("admin:runs_schedule_change", args=[made.pk])).content.decode()
        assert RunRow.objects.get().id in page

    def test_who_changes_it_takes_it_over(self, omar: Client) -> None:
        omar.post(reverse(ADD), filled())
        made = Schedule.objects.get()
        other = signed_in("olga", "change_schedule", "view_schedule")
        place = reverse("admin:runs_schedule_change", args=[made.pk])
        answer = other.post(place, filled(input='{"order": "B2"}', reason="Another"), follow=True)
        assert "you may not start runs" in answer.content.decode()
        made.refresh_from_db()
        assert (made.owner, made.input) == ("user:olga", {"order": "B2"})
        assert made.history.latest("history_id").actor == "user:olga"

    def test_another_clock_makes_another_next_moment(self, omar: Client) -> None:
        omar.post(reverse(ADD), filled())
        timers.sweep()
        made = Schedule.objects.get()
        assert made.next_at is not None
        place = reverse("admin:runs_schedule_change", args=[made.pk])
        omar.post(place, filled(intent="What is left"))
        made.refresh_from_db()
        assert made.next_at is not None
        omar.post(place, filled(every_seconds="120"))
        made.refresh_from_db()
        assert made.next_at is None

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"input": "{}"}, "order: is missing"),
            ({"input": '{"order": "A1", "amount": "many"}'}, "amount: should be a whole number"),
            ({"input": "{order"}, "Enter a valid JSON."),
            ({"workflow": "test.nothing"}, "Select a valid choice"),
            ({"every_seconds": ""}, "one of the two"),
            ({"every_seconds": "0"}, "Write 1 or more"),
            ({"crontab": "1"}, "one of the two"),
            ({"crontab": "2", "every_seconds": ""}, "There is no such day"),
            ({"reason": " "}, "This field is required."),
            ({"name": ""}, "This field is required."),
        ],
    )
    def test_it_refuses_at_the_field(self, omar: Client, values: dict[str, str], said: str) -> None:
        CrontabSchedule.objects.create(pk=1)
        CrontabSchedule.objects.create(pk=2, day_of_month="31", month_of_year="2")
        page = omar.post(reverse(ADD), filled(**values))
        assert page.status_code == 200
        assert said in page.content.decode()
        assert not Schedule.objects.exists()

    def test_nobody_without_the_permission(self, omar: Client) -> None:
        omar.post(reverse(ADD), filled())
        made = Schedule.objects.get()
        ada = signed_in("ada", "view_schedule")
        assert ada.get(reverse(LIST)).status_code == 200
        assert ada.post(reverse(ADD), filled(name="other")).status_code == 403
        place = reverse("admin:runs_schedule_change", args=[made.pk])
        assert ada.post(place, filled(name="other")).status_code == 403
        assert (
            ada.post(reverse("admin:runs_schedule_delete", args=[made.pk]), {"post": "yes"}).status_code
            == 403
        )
        assert omar.post(reverse("admin:runs_schedule_delete", args=[made.pk])).status_code == 403
        assert Schedule.objects.get().name == "daily"

    def test_what_has_no_effect_here_is_not_shown(self) -> None:
        for model in (PeriodicTask, ClockedSchedule, SolarSchedule, IntervalSchedule):
            assert not admin.site.is_registered(model)
        assert admin.site.is_registered(CrontabSchedule)

    def test_a_crontab_is_made_and_shown(self) -> None:
        omar = signed_in("omar", "add_crontabschedule", "change_crontabschedule", "view_crontabschedule")
        fields = {"minute": "0", "hour": "8", "day_of_month": "*", "month_of_year": "*", "day_of_week": "*"}
        place = reverse("admin:django_celery_beat_crontabschedule_add")
        assert omar.post(place, {**fields, "timezone": "Europe/Berlin"}).status_code == 302
        page = omar.get(reverse("admin:django_celery_beat_crontabschedule_changelist"))
        assert "Europe/Berlin" in page.content.decode()


class TestVersions:
    @pytest.fixture
    def row(self) -> WorkflowVersion:
        return WorkflowVersion.objects.create(name="test.refund", version=1)

    def act(self, client: Client, row: WorkflowVersion, verb: str, reason: str = "Tried") -> Any:
        return client.post(reverse(f"admin:runs_workflowversion_{verb}", args=[row.pk]), {"reason": reason})

    def test_it_works(self, omar: Client, row: WorkflowVersion) -> None:
        assert omar.get(reverse("admin:runs_workflowversion_changelist")).status_code == 200
        change = reverse("admin:runs_workflowversion_change", args=[row.pk])
        place = reverse("admin:runs_workflowversion_activate", args=[row.pk])
        assert place in omar.get(change).content.decode()
        assert "It may start runs" in omar.get(place).content.decode()
        row.refresh_from_db()
        assert row.state == "deployed", "looking changes nothing"
        assert self.act(omar, row, "activate").status_code == 302
        row.refresh_from_db()
        assert (row.state, row.activated_by, row.note) == ("active", "user:omar", "Tried")
        assert self.act(omar, row, "retire", "Old").status_code == 302
        row.refresh_from_db()
        assert (row.state, row.note) == ("retired", "Old")

    def test_not_without_a_reason(self, omar: Client, row: WorkflowVersion) -> None:
        assert self.act(omar, row, "activate", " ").status_code == 422
        row.refresh_from_db()
        assert row.state == "deployed"

    def test_not_in_the_wrong_state(self, omar: Client, row: WorkflowVersion) -> None:
        page = self.act(omar, row, "retire")
        assert (page.status_code, "is not active" in page.content.decode()) == (422, True)

    def test_nobody_without_the_permission(self, row: WorkflowVersion) -> None:
        ada = signed_in("ada", "view_workflowversion", "change_workflowversion")
        assert self.act(ada, row, "activate").status_code == 403
        assert (
            "activate/"
            not in ada.get(reverse("admin:runs_workflowversion_change", args=[row.pk])).content.decode()
        )
        assert Client().get(reverse("admin:runs_workflowversion_activate", args=[row.pk])).status_code == 302
        row.refresh_from_db()
        assert row.state == "deployed"
