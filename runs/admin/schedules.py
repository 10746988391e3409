"""The admin of schedules: operators edit them there; what has no effect here is not shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from runs import crontab, services, workflow
from runs.access import person
from runs.actors import acting_as, plain_name
from runs.actors import user as actor_of
from runs.admin.links import run_link
from runs.clock import db_now
from runs.models import Schedule
from tools.window import History

# Beat runs none of these here: schedules are started by the caretakers, on the database's clock.
for unused in (PeriodicTask, ClockedSchedule, SolarSchedule, IntervalSchedule, CrontabSchedule):
    if admin.site.is_registered(unused):
        admin.site.unregister(unused)


@admin.register(CrontabSchedule)
class CrontabAdmin(ModelAdmin):
    """Minutes, hours and days, in a time zone; several schedules may share one."""

    list_display = ["__str__", "timezone", "next_moment"]
    fields = ["minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone"]

    @admin.display(description="Next (UTC)")
    def next_moment(self, row: CrontabSchedule) -> str:
        moment = crontab.next_moment(row, db_now())
        return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Schedules that use it would stop; an unused one does no harm."""
        return False


def _known() -> list[tuple[str, str]]:
    names = sorted({known.name for known in workflow.all_workflows()})
    return [(name, name) for name in names]


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A schedule whose workflow is there, whose input fits it, and whose moments come."""

    workflow = forms.ChoiceField(choices=_known, widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        max_length=2000,
        help_text="Why it is made or changed so; kept in its history.",
        strip=True,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
    )

    class Meta:
        model = Schedule
        fields = [
            "name",
            "workflow",
            "input",
            "intent",
            "crontab",
            "every_seconds",
            "skip_while_running",
            "enabled",
        ]
        widgets = {"intent": UnfoldAdminTextareaWidget({"rows": 3})}

    def clean(self) -> dict[str, Any]:
        """Each problem stands at its field."""
        given = super().clean() or self.cleaned_data
        self._check_clock(given)
        if given.get("workflow") and "input" in given:
            self._check_input(given)
        return given

    def _check_clock(self, given: dict[str, Any]) -> None:
        row = given.get("crontab")
        if (row is None) == (given.get("every_seconds") is None):
            self.add_error("crontab", "Choose a crontab, or fill in every so many seconds: one of the two.")
        elif row is None and given["every_seconds"] < 1:
            self.add_error("every_seconds", "Write 1 or more.")
        elif row is not None and crontab.next_moment(row, db_now()) is None:
            self.add_error("crontab", "There is no such day: it never comes.")

    def _check_input(self, given: dict[str, Any]) -> None:
        try:
            workflow.get(given["workflow"]).check_input(given["input"])
        except workflow.InvalidInput as error:
            for problem in error.problems:
                self.add_error("input", problem)


@admin.register(Schedule)
class ScheduleAdmin(History, ModelAdmin):
    """What starts by the clock, in the name of whoever saved it last."""

    form = ScheduleForm
    list_display = ["name", "workflow", "clock", "enabled", "next_at", "last_at", "latest", "problem"]
    list_filter = ["enabled", "workflow"]
    search_fields = ["name", "intent"]
    ordering = ["name"]
    readonly_fields = ["in_the_name_of", "next_at", "last_at", "latest", "problem"]
    actions = None

    @admin.display(description="When")
    def clock(self, row: Schedule) -> str:
        return str(row.crontab) if row.crontab else f"every {row.every_seconds} seconds"

    @admin.display(description="Last run")
    def latest(self, row: Schedule) -> SafeString | str:
        return run_link(row.last_run) if row.last_run else "none"

    @admin.display(description="Its runs start in the name of")
    def in_the_name_of(self, row: Schedule) -> str:
        return plain_name(row.owner) if row.owner else "whoever saves it"

    def save_model(self, request: HttpRequest, obj: Schedule, form: ScheduleForm, change: bool) -> None:
        """Row and history; whoever saves it answers for its runs, so that nobody starts any as another."""
        actor = actor_of(person(request).get_username())
        obj.owner = actor
        if not change or {"crontab", "every_seconds", "enabled"} & set(form.changed_data):
            obj.next_at = None
        obj.problem = ""
        obj._change_reason = form.cleaned_data["reason"]  # type: ignore[attr-defined]
        with acting_as(actor):
            super().save_model(request, obj, form, change)
        self._warn(request, obj)

    def _warn(self, request: HttpRequest, obj: Schedule) -> None:
        try:
            services.choose_version(obj.workflow)
        except services.NotActive as error:
            self.message_user(request, f"It will start nothing yet. {error}", messages.WARNING)
        if not person(request).has_perm("runs.start_run"):
            said = "It will start nothing: its runs start in your name, and you may not start runs."
            self.message_user(request, said, messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: Schedule) -> None:
        """Its history stays."""
        with acting_as(actor_of(person(request).get_username())):
            super().delete_model(request, obj)
