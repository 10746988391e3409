"""A window on every attempt to call a tool: nothing can be added, changed or deleted here."""

from __future__ import annotations

from django.contrib import admin

from tools.models import ToolCall
from tools.window import OfTheNewest, Window


@admin.register(ToolCall)
class ToolCallAdmin(Window):
    """Every column of every tool call, read only."""

    list_display = ["id", "tool", "effect", "state", "attempt", "run_id", "started_at", "finished_at"]
    list_filter = ["state", "effect", ("tool", OfTheNewest)]
    search_fields = ["id__exact", "run_id__exact", "step_id__exact"]
    search_help_text = "The id of a call, or of its run or step"
    ordering = ["-id"]
    readonly_fields = [field.name for field in ToolCall._meta.fields]
