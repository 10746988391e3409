"""State machines on rows: a protected state column that only transitions may move.

django-fsm guards assignment, but its guard trips over ``refresh_from_db`` and its mixins switch the guard
off for the whole class. ``StateModel`` keeps the guard on for every instance, always.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django_fsm import FSMField


class StateModel(models.Model):
    """Base of every row with a life of its own: ``state`` moves by transition and in no other way."""

    class Meta:
        abstract = True

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        """Read the row again. The loaded value is dropped first, so that setting it is no forbidden move."""
        names = [f.name for f in self._meta.concrete_fields if isinstance(f, FSMField)]
        wanted = names if fields is None else [name for name in names if name in set(fields)]
        for name in wanted:
            self.__dict__.pop(name, None)
        super().refresh_from_db(using=using, fields=fields, from_queryset=from_queryset)


def sources_of(model: type[models.Model], transition: str) -> tuple[str, ...]:
    """The states from which `transition` may be called, sorted: for compare-and-set in SQL.

    Raises LookupError when the model has no such transition.
    """
    method = getattr(model, transition, None)
    meta = getattr(method, "_django_fsm", None)
    if meta is None:
        raise LookupError(f"{model.__name__} has no transition called {transition}")
    return tuple(sorted(meta.transitions))
