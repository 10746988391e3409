"""How many there are, in a time that does not grow with the tables: exact up to a limit, then "at least"."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

#: So many are counted; where there are more, that is said.
MOST = 10_000


class Count(int):
    """A number of rows; with `more`, there are at least so many. Reads as ``12`` or ``10,000+``."""

    more: bool

    def __new__(cls, number: int = 0, more: bool = False) -> Count:
        made = super().__new__(cls, number)
        made.more = more
        return made

    def __str__(self) -> str:
        return f"{int(self):,}+" if self.more else repr(int(self))

    def __add__(self, other: int) -> Count:
        return Count(int(self) + int(other), self.more or getattr(other, "more", False))


def up_to(rows: QuerySet[Any], most: int = MOST) -> Count:
    """How many `rows` there are, `most` of them counted."""
    found = rows.order_by()[: most + 1].count()
    return Count(min(found, most), found > most)
