"""The admin of breakers and limits: windows, and two acts of an operator, each with a reason."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget

from tools import breakers, registry
from tools.protection import BreakerMove, Ticket, ToolBreaker, ToolLimit
from tools.window import OfTheNewest, Window

PERMISSION = "tools.move_toolbreaker"
_CONSEQUENCES = {
    "open": "No worker calls this tool until the time is over; then one call is let through to see.",
    "close": "Calls pass again at once, and what was counted is forgotten.",
}


class CloseForm(forms.Form):
    """Why a breaker is moved."""

    reason = forms.CharField(max_length=2000, strip=True, widget=UnfoldAdminTextareaWidget({"rows": 3}))


class OpenForm(CloseForm):
    """For how long, as well."""

    seconds = forms.IntegerField(
        min_value=1, max_value=86_400, initial=600, widget=UnfoldAdminIntegerFieldWidget
    )


@admin.register(ToolBreaker)
class ToolBreakerAdmin(Window):
    """How the breaker of each tool stands; an operator opens and closes it."""

    list_display = ["tool", "state", "reason", "retry_at", "trips", "changed_at"]
    list_filter = ["state"]
    search_fields = ["tool"]
    ordering = ["tool"]
    readonly_fields = [*(field.name for field in ToolBreaker._meta.fields), "acts"]

    @admin.display(description="Acts")
    def acts(self, row: ToolBreaker) -> SafeString:
        """Links to what can be done."""
        link = '<a href="{}" class="underline">{} it …</a>'
        opens, closes = (reverse(f"admin:tools_toolbreaker_{verb}", args=[row.pk]) for verb in _CONSEQUENCES)
        return format_html(f"{link} &nbsp; {link}", opens, "Open", closes, "Close")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Every column; what can be done, for those alone who may."""
        shown = [field.name for field in ToolBreaker._meta.fields]
        return [*shown, "acts"] if _may(request) else shown

    def get_urls(self) -> list[Any]:
        """A page for each act."""
        view = self.admin_site.admin_view(self.move)
        ours = [
            path(f"<str:tool>/{verb}/", view, {"verb": verb}, name=f"tools_toolbreaker_{verb}")
            for verb in _CONSEQUENCES
        ]
        return [*ours, *super().get_urls()]

    def move(self, request: HttpRequest, tool: str, verb: str) -> HttpResponse:
        """Ask for the reason; take it by POST alone."""
        if not _may(request):
            raise PermissionDenied(f"You may not {verb} breakers.")
        row = get_object_or_404(ToolBreaker, pk=tool)
        kind = OpenForm if verb == "open" else CloseForm
        form = kind(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            problem = _moved(request, row.tool, verb, form.cleaned_data)
            if not problem:
                return HttpResponseRedirect(reverse("admin:tools_toolbreaker_change", args=[row.pk]))
            form.add_error(None, problem)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} the breaker of {row.tool}",
            "consequence": _CONSEQUENCES[verb],
            "stands": str(row.state).replace("_", "-"),
            "row": row,
            "form": form,
            "verb": verb.capitalize(),
            "opts": self.opts,
        }
        return render(request, "admin/tools/move_breaker.html", context, status=422 if form.errors else 200)


def _may(request: HttpRequest) -> bool:
    return bool(request.user.has_perm(PERMISSION))


def _moved(request: HttpRequest, name: str, verb: str, given: dict[str, Any]) -> str:
    """Do it; why it could not be done, if so."""
    actor = f"user:{request.user.get_username()}"
    try:
        tool = registry.get(name)
        if verb == "open":
            breakers.open_by_hand(tool, given["seconds"], reason=given["reason"], actor=actor)
        else:
            breakers.close_by_hand(tool, reason=given["reason"], actor=actor)
    except (registry.UnknownTool, ValueError) as error:
        return f"{error}."
    return ""


@admin.register(BreakerMove)
class BreakerMoveAdmin(Window):
    """Every move of every breaker, and who or what moved it."""

    list_display = ["tool", "at", "before", "after", "reason", "actor"]
    list_filter = [("tool", OfTheNewest), "after"]
    search_fields = ["tool__exact", "actor__exact"]
    ordering = ["-id"]
    readonly_fields = [field.name for field in BreakerMove._meta.fields]


@admin.register(ToolLimit)
class ToolLimitAdmin(Window):
    """How far the limit of each tool is used up."""

    list_display = ["tool", "started_to", "planned_to", "held_until"]
    ordering = ["tool"]
    readonly_fields = [field.name for field in ToolLimit._meta.fields]


@admin.register(Ticket)
class TicketAdmin(Window):
    """Calls in line and under way, at tools with a limit."""

    list_display = ["key", "tool", "state", "run_id", "starts_at", "until"]
    list_filter = ["state", ("tool", OfTheNewest)]
    search_fields = ["key__exact", "run_id__exact"]
    ordering = ["starts_at"]
    readonly_fields = [field.name for field in Ticket._meta.fields]
