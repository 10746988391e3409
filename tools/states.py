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

    _rereading: frozenset[str] = frozenset()

    class Meta:
        abstract = True

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Any] | None = None,
    ) -> None:
        """Read the row again. Loaded states are dropped first, so that setting them is no forbidden move."""
        wanted = None if fields is None else list(fields)
        states = {f.name for f in self._meta.concrete_fields if isinstance(f, FSMField)}
        again = {name for name in states & self.__dict__.keys() if wanted is None or name in wanted}
        kept = {name: self.__dict__.pop(name) for name in again}
        self._rereading = frozenset(kept)
        try:
            super().refresh_from_db(using=using, fields=wanted, from_queryset=from_queryset)
        finally:
            del self._rereading
            # Where the row is gone, the state last seen stays, and with it the guard.
            for name, state in kept.items():
                self.__dict__.setdefault(name, state)

    def get_deferred_fields(self) -> set[str]:
        """Fields not loaded. A state dropped for the moment is none of them: it would not be read again."""
        return super().get_deferred_fields() - self._rereading


def sources_of(model: type[models.Model], transition: str) -> tuple[str, ...]:
    """The states from which `transition` may be called, sorted: for compare-and-set in SQL.

    Raises LookupError when the model has no such transition.
    """
    method = getattr(model, transition, None)
    meta = getattr(method, "_django_fsm", None)
    if meta is None:
        raise LookupError(f"{model.__name__} has no transition called {transition}")
    return tuple(sorted(meta.transitions))
