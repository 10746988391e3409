"""A window on every attempt to call a tool: nothing can be added, changed or deleted here."""

from __future__ import annotations

from django.contrib import admin

from tools.models import ToolCall
from tools.window import Window


@admin.register(ToolCall)
class ToolCallAdmin(Window):
    """Every column of every tool call, read only."""

    list_display = ["id", "tool", "effect", "state", "attempt", "run_id", "started_at", "finished_at"]
    list_filter = ["state", "effect", "tool"]
    search_fields = ["id", "run_id", "step_id", "key"]
    search_help_text = "An id of a call, run or step, or an idempotency key"
    ordering = ["-started_at"]
    readonly_fields = [field.name for field in ToolCall._meta.fields]
