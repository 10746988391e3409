"""The admin as a window: everything can be seen and nothing changed. Writes go through the services alone."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin


class Window(ModelAdmin):
    """Base of the admin pages of rows with a life of their own: no add, no change, no delete, no actions."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class History(SimpleHistoryAdmin):
    """The history of a row, to be read alone; who changed it is the actor on record.

    Without this the page of an old version takes a POST, and writes it, from whoever may look at it:
    SIMPLE_HISTORY_REVERT_DISABLED hides the button and no more.
    """

    history_list_display = ["actor"]

    def history_form_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The row as it was; by GET alone."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied("History is not changed.")
        response: HttpResponse = super().history_form_view(request, *args, **kwargs)
        return response
