"""A window on every attempt to call a tool: nothing can be added, changed or deleted here."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from tools.models import ToolCall


@admin.register(ToolCall)
class ToolCallAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is not typed
    """Every column of every tool call, read only."""

    list_display = ["id", "tool", "effect", "state", "attempt", "run_id", "started_at", "finished_at"]
    list_filter = ["state", "effect", "tool"]
    search_fields = ["id", "run_id", "step_id", "key"]
    search_help_text = "An id of a call, run or step, or an idempotency key"
    ordering = ["-started_at"]
    readonly_fields = [field.name for field in ToolCall._meta.fields]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ToolCall | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ToolCall | None = None) -> bool:
        return False
