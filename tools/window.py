"""The admin as a window: everything can be seen and nothing changed. Writes go through the services alone."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AllValuesFieldListFilter, ShowFacets
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin

from tools.counting import Count, up_to

#: Of so many rows the filters show what can be chosen.
NEWEST = 1_000


class Pages(Paginator):  # type: ignore[type-arg]
    """The first pages of many rows: a big table is neither counted nor leafed through to its end."""

    @cached_property
    def count(self) -> Count:
        """How many rows there are to leaf through."""
        return up_to(self.object_list)  # type: ignore[arg-type]


class OfTheNewest(AllValuesFieldListFilter):
    """A filter that offers what the newest rows hold: a big table is not searched for all its values."""

    def __init__(
        self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        newest = model_admin.get_queryset(request).order_by("-pk").values_list(field.name, flat=True)
        offered = sorted({str(value) for value in (*newest[:NEWEST], *(self.lookup_val or ()))})
        self.lookup_choices = offered  # type: ignore[assignment]


class Window(ModelAdmin):
    """Base of the admin pages of rows with a life of their own: no add, no change, no delete, no actions."""

    actions = None
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = Pages

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
