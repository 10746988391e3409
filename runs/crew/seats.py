"""Seats for turns: of the many turns that a process has in hand, a few at a time work; the others wait aside.

Python runs one thread at a time. When thirty turns of a process work at once, each answer of the database
waits for the interpreter behind all the others, and many cold connections do what a few warm ones could. Long
bodies and models' answers need no seat: those overlap as far as there are threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from runs.clock import ticks
from runs.crew import pace

PATIENCE = 0.05  # seconds in which nobody came or left, until one more turn may work than there are seats


class Seats:
    """`count` seats, shared by the turns of one process. A thread takes at most one.

    Who has none holds no database connection, so those who have one never wait for each other. Where all
    seats are held up, as by bodies that take long for once, more turns work, one after each `PATIENCE`.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken = 0
        self._moved = 0.0  # ticks at which somebody last came or left
        self._changed = threading.Condition()
        self._line = threading.Lock()
        self._mine = threading.local()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A seat for a turn, waited for in line."""
        with self._line:
            self._take()
        try:
            yield
        finally:
            pace.free_connection()
            self._give_back()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """A long wait for the outside: the connection goes back to the pool, and others may have the seat.

        Who comes back does not stand in line: its lease runs.
        """
        pace.free_connection()
        if not getattr(self._mine, "seated", False):
            yield
            return
        self._give_back()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        with self._changed:
            while self._taken >= self._count and ticks() - self._moved < PATIENCE:
                self._changed.wait(PATIENCE)
            self._taken += 1
            self._moved = ticks()
        self._mine.seated = True

    def _give_back(self) -> None:
        self._mine.seated = False
        with self._changed:
            self._taken -= 1
            self._moved = ticks()
            self._changed.notify()


#: Those of this process.
SEATS = Seats(settings.HOLDPOINT_TURNS_AT_ONCE)
