"""A window on every attempt to call a tool: nothing can be added, changed or deleted here."""

from __future__ import annotations

from django.contrib import admin

from tools import protection_admin  # noqa: F401 - it registers what it shows
from tools.mcp.rows import RemoteTool
from tools.misfits import Misfit
from tools.models import Compensation, Inquiry, Settlement, ToolCall
from tools.window import History, OfTheNewest, Window


@admin.register(ToolCall)
class ToolCallAdmin(Window):
    """Every column of every tool call, read only."""

    list_display = ["id", "tool", "effect", "state", "attempt", "run_id", "started_at", "finished_at"]
    list_filter = ["state", "effect", ("tool", OfTheNewest)]
    search_fields = ["id__exact", "run_id__exact", "step_id__exact"]
    search_help_text = "The id of a call, or of its run or step"
    ordering = ["-id"]
    readonly_fields = [field.name for field in ToolCall._meta.fields]


@admin.register(Misfit)
class MisfitAdmin(Window):
    """Every result that did not fit the contract of its tool."""

    list_display = ["call_id", "tool", "version", "run_id", "at", "problem"]
    list_filter = [("tool", OfTheNewest)]
    search_fields = ["call_id__exact", "run_id__exact", "contract__exact"]
    search_help_text = "The id of a call or of its run, or the digest of a contract"
    ordering = ["-call_id"]
    readonly_fields = [field.name for field in Misfit._meta.fields]


@admin.register(Settlement)
class SettlementAdmin(Window):
    """What people said about calls in doubt, without the results that they gave."""

    list_display = ["id", "call_id", "run_id", "outcome", "by", "at"]
    list_filter = ["outcome"]
    search_fields = ["id__exact", "call_id__exact", "run_id__exact", "by__exact"]
    search_help_text = "The id of a call, of its run, or an actor such as user:ana"
    ordering = ["-id"]
    exclude = ["result"]
    readonly_fields = [field.name for field in Settlement._meta.fields if field.name != "result"]


@admin.register(Inquiry)
class InquiryAdmin(Window):
    """What the caretakers know about calls in doubt."""

    list_display = ["call_id", "amount", "currency", "looks", "looked_at", "look_at"]
    search_fields = ["call_id__exact"]
    ordering = ["-call_id"]
    readonly_fields = [field.name for field in Inquiry._meta.fields]


@admin.register(Compensation)
class CompensationAdmin(Window):
    """Which calls were to be undone, by whom and by which run."""

    list_display = ["call_id", "run_id", "undone_by", "tool", "by", "at"]
    search_fields = ["call_id__exact", "run_id__exact", "undone_by__exact"]
    ordering = ["-id"]
    readonly_fields = [field.name for field in Compensation._meta.fields]


@admin.register(RemoteTool)
class RemoteToolAdmin(History, Window):
    """Every tool of every MCP server, what was signed of it, by whom and what became of it."""

    list_display = ["name", "state", "version", "effect", "risk", "signed_by", "signed_at", "reason"]
    list_filter = ["state", "server", "effect"]
    search_fields = ["name", "remote"]
    ordering = ["name"]
    readonly_fields = [field.name for field in RemoteTool._meta.fields]
