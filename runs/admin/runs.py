"""The admin: a window on runs, their steps, the journal and the workers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from runs import actors, services
from runs.admin.window import Classed
from runs.models import JournalEntry, Run, Step, Token, Worker
from runs.views import control
from tools.preview import plain_text
from tools.window import History, OfTheNewest, Window

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LINES = 20


def _shown(value: Any) -> SafeString:
    if value is None:
        return format_html("{}", "—")
    return format_html("<pre>{}</pre>", plain_text(json.dumps(value, indent=2, ensure_ascii=False), 300_000))


def _lines(rows: Iterable[tuple[Any, ...]]) -> SafeString:
    return format_html("<ul>{}</ul>", format_html_join("", "<li>{} {}: {}</li>", rows))


def _ids(chosen: QuerySet[Run]) -> list[str]:
    return list(chosen.values_list("id", flat=True)[: services.MOST_AT_ONCE + 1])


@admin.register(Run)
class RunAdmin(History, Classed):
    """Every run, with its latest journal lines and its steps; what people do with runs is foreseen first."""

    actions = ["pause_runs", "resume_runs", "cancel_runs", "retry_runs"]  # type: ignore[assignment]
    list_display = ["id", "workflow", "state", "intent", "requester", "created_at", "finished_at"]
    list_filter = ["state", ("workflow", OfTheNewest), "created_at"]
    search_fields = ["id__exact", "intent"]
    search_help_text = "An id, or words of what it is for"
    ordering = ["-created_at"]
    technical = ["input", "output", "head_hash"]
    readonly_fields = ["page", "latest_lines", "steps_so_far", "input_shown", "output_shown"]

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Whether this person may pause, resume, cancel and retry runs."""
        return request.user.has_perm(control.CONTROL)

    @admin.action(description="Pause: see first what would happen", permissions=["control"])
    def pause_runs(self, request: HttpRequest, chosen: QuerySet[Run]) -> HttpResponse:
        """What pausing would do; the page that is shown asks why, and does it."""
        return control.foreseen(request, "pause", _ids(chosen))

    @admin.action(description="Resume: see first what would happen", permissions=["control"])
    def resume_runs(self, request: HttpRequest, chosen: QuerySet[Run]) -> HttpResponse:
        """What resuming would do; the page that is shown asks why, and does it."""
        return control.foreseen(request, "resume", _ids(chosen))

    @admin.action(description="Cancel: see first what would happen", permissions=["control"])
    def cancel_runs(self, request: HttpRequest, chosen: QuerySet[Run]) -> HttpResponse:
        """What cancelling would do; the page that is shown asks why, and does it."""
        return control.foreseen(request, "cancel", _ids(chosen))

    @admin.action(description="Retry: see first what would happen", permissions=["control"])
    def retry_runs(self, request: HttpRequest, chosen: QuerySet[Run]) -> HttpResponse:
        """What retrying would do; the page that is shown asks why, and does it."""
        return control.foreseen(request, "retry", _ids(chosen))

    @admin.display(description="Its page")
    def page(self, run: Run) -> SafeString:
        return format_html('<a href="{}">{}</a>', reverse("runs:run", args=[run.pk]), run.pk)

    @admin.display(description="Latest journal lines")
    def latest_lines(self, run: Run) -> SafeString:
        entries = run.journal.order_by("-seq")[:LINES]
        return _lines((entry.seq, entry.kind, plain_text(entry.sentence, 300)) for entry in entries)

    @admin.display(description="Steps")
    def steps_so_far(self, run: Run) -> SafeString:
        return _lines((step.path, step.name, step.state) for step in run.steps.order_by("position")[:LINES])

    @admin.display(description="Input")
    def input_shown(self, run: Run) -> SafeString:
        return _shown(run.input)

    @admin.display(description="Output")
    def output_shown(self, run: Run) -> SafeString:
        return _shown(run.output)


@admin.register(Step)
class StepAdmin(History, Classed):
    """Every recorded act."""

    list_display = ["id", "run_id", "path", "kind", "name", "state", "attempt", "started_at", "finished_at"]
    list_filter = ["state", ("kind", OfTheNewest), ("effect", OfTheNewest)]
    search_fields = ["id__exact", "run__id__exact"]
    search_help_text = "The id of a step or of its run"
    ordering = ["-id"]  # as they were begun
    technical = ["arguments", "result", "error"]
    readonly_fields = ["arguments_shown", "result_shown", "error_shown"]

    @admin.display(description="Arguments")
    def arguments_shown(self, step: Step) -> SafeString:
        return _shown(step.arguments)

    @admin.display(description="Result")
    def result_shown(self, step: Step) -> SafeString:
        return _shown(step.result)

    @admin.display(description="Error")
    def error_shown(self, step: Step) -> SafeString:
        return _shown(step.error)


@admin.register(JournalEntry)
class JournalEntryAdmin(Classed):
    """Every line of every journal."""

    list_display = ["run_id", "seq", "at", "actor", "kind", "sentence"]
    list_filter = [("kind", OfTheNewest)]
    search_fields = ["run__id__exact"]
    search_help_text = "The id of a run"
    ordering = ["-id"]
    technical = ["content", "digest", "previous", "mac"]
    readonly_fields = ["content_shown", "digest_shown"]

    @admin.display(description="Content")
    def content_shown(self, entry: JournalEntry) -> SafeString:
        return _shown(entry.content)

    @admin.display(description="Digest of the content")
    def digest_shown(self, entry: JournalEntry) -> str:
        return bytes(entry.digest).hex()


@admin.register(Worker)
class WorkerAdmin(Window):
    """Every worker process that ever ran."""

    list_display = ["id", "host", "pid", "pool", "queues", "started_at", "beat_at", "stopped_at"]
    list_filter = ["pool", "host"]
    search_fields = ["id", "host"]
    ordering = ["-started_at"]


@admin.register(Token)
class TokenAdmin(History, Window):
    """Keys for other systems: who holds them, and one act, to take them back. Secrets are kept nowhere."""

    actions = ["revoke"]  # type: ignore[assignment]
    list_display = ["id", "name", "user", "expires_at", "revoked_at", "last_used_at", "created_by"]
    list_filter = ["user"]
    search_fields = ["id", "name"]
    ordering = ["-created_at"]
    exclude = ["secret_hash"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether this person may take tokens back."""
        return request.user.has_perm("runs.change_token")

    @admin.action(description="Revoke: they stop working at once", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[Token]) -> None:
        """Take the chosen tokens back."""
        actor = actors.user(cast("User", request.user).get_username())
        for token in chosen.filter(revoked_at=None):
            services.revoke_token(token.pk, actor=actor, reason="Revoked in the admin")
        self.message_user(request, "The tokens chosen do not work any more.")
