"""The admin of the kill switch: a window with history, and the way to the page that stops and releases."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runs.access import person
from tools import switches
from tools.switch import Switch, Waiting
from tools.window import History, Window


@admin.register(Switch)
class SwitchAdmin(History, Window):
    """Every switch, who set and who released it, and why."""

    list_display = ["id", "kind", "name", "state", "by", "at", "reason", "released_by", "released_at", "then"]
    list_filter = ["state", "kind"]
    search_fields = ["id__exact", "name"]
    ordering = ["-at", "-id"]
    readonly_fields = [*(field.name for field in Switch._meta.fields), "waits", "acts"]

    @admin.display(description="Waits")
    def waits(self, row: Switch) -> str:
        return switches.wait_in_words(switches.waiting_runs(row.pk))

    @admin.display(description="Acts")
    def acts(self, row: Switch) -> SafeString:
        return format_html('<a href="{}" class="underline">Stop and release …</a>', reverse("switches"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Every column; the way to what can be done, for those alone who may."""
        shown = [*(field.name for field in Switch._meta.fields), "waits"]
        return [*shown, "acts"] if person(request).has_perm(switches.PERMISSION) else shown


@admin.register(Waiting)
class WaitingAdmin(Window):
    """Every step that waits for a switch."""

    list_display = ["run_id", "path", "tool", "effect", "order", "since"]
    search_fields = ["run_id__exact", "order__exact"]
    ordering = ["-since", "id"]
    readonly_fields = [field.name for field in Waiting._meta.fields]
