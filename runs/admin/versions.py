"""The admin of workflow versions: a window, and two acts, each with a reason."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from runs import services, workflow
from runs.access import person
from runs.actors import plain_name
from runs.actors import user as actor_of
from runs.code import digest_of
from runs.models import VersionState, WorkflowVersion
from runs.services.activation import PERMISSION
from tools.window import History, Window


class ReasonForm(forms.Form):
    """Why a version is activated or retired."""

    reason = forms.CharField(max_length=2000, strip=True, widget=UnfoldAdminTextareaWidget({"rows": 3}))


@admin.register(WorkflowVersion)
class WorkflowVersionAdmin(History, Window):
    """Every version of every workflow, and on whose word it starts runs."""

    list_display = ["name", "version", "state", "by", "since", "note", "stands"]
    list_filter = ["state", "name"]
    search_fields = ["name"]
    ordering = ["name", "-version"]
    readonly_fields = ["by", "since", "stands", "acts"]

    verbs: ClassVar[dict[str, tuple[Any, str]]] = {
        "activate": (services.activate_version, "It may start runs, with the code it has here and now."),
        "retire": (services.retire_version, "It starts no more runs; those under way go on with it."),
    }

    @admin.display(description="By", empty_value="nobody")
    def by(self, row: WorkflowVersion) -> str | None:
        return plain_name(row.activated_by) if row.activated_by else None

    @admin.display(description="Since (UTC)")
    def since(self, row: WorkflowVersion) -> str:
        return f"{row.activated_at:%Y-%m-%d %H:%M}" if row.activated_at else ""

    @admin.display(description="Its code")
    def stands(self, row: WorkflowVersion) -> str:
        try:
            definition = workflow.get(row.name, row.version)
        except workflow.UnknownWorkflow:
            return "is not deployed here"
        if row.state == VersionState.ACTIVE and row.code and row.code != digest_of(definition):
            return "was changed since it was activated"
        return "is here"

    @admin.display(description="Acts")
    def acts(self, row: WorkflowVersion) -> SafeString:
        verb = "retire" if row.state == VersionState.ACTIVE else "activate"
        url = reverse(f"admin:runs_workflowversion_{verb}", args=[row.pk])
        return format_html('<a href="{}" class="underline">{} it …</a>', url, verb.capitalize())

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Every column; what can be done, for those alone who may."""
        shown = ["name", "version", "state", "by", "since", "note", "code", "stands"]
        return [*shown, "acts"] if person(request).has_perm(PERMISSION) else shown

    def get_urls(self) -> list[Any]:
        """A page for each act."""
        ours = [
            path(
                f"<int:pk>/{verb}/",
                self.admin_site.admin_view(self.judge),
                {"verb": verb},
                name=f"runs_workflowversion_{verb}",
            )
            for verb in self.verbs
        ]
        return [*ours, *super().get_urls()]

    def judge(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """Ask for the reason; take it by POST alone."""
        if not person(request).has_perm(PERMISSION):
            raise PermissionDenied(f"You may not {verb} workflows.")
        row = get_object_or_404(WorkflowVersion, pk=pk)
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            problem = self._do(request, row, verb, form.cleaned_data["reason"])
            if not problem:
                back = reverse("admin:runs_workflowversion_change", args=[row.pk])
                return HttpResponseRedirect(back)
            form.add_error(None, problem)
        _, consequence = self.verbs[verb]
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} {row.name} version {row.version}",
            "consequence": consequence,
            "row": row,
            "by": plain_name(row.activated_by) if row.activated_by else "",
            "form": form,
            "verb": verb.capitalize(),
            "opts": self.opts,
        }
        status = 422 if form.errors else 200
        return render(request, "admin/runs/judge_version.html", context, status=status)

    def _do(self, request: HttpRequest, row: WorkflowVersion, verb: str, reason: str) -> str:
        act, _ = self.verbs[verb]
        actor = actor_of(person(request).get_username())
        try:
            changed = act(row.name, row.version, actor=actor, reason=reason)
        except (services.NotPossible, workflow.UnknownWorkflow) as error:
            return str(error)
        said = f"{changed.name} version {changed.version} is {changed.state}."
        self.message_user(request, said, messages.SUCCESS)
        return ""
