"""Processes that die before or after one of their commits, and the ledger by which they are judged."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connection

from runs.turns import checkpoint, lease

DEAD = 86


class World:
    """The ledger: a line for each thing that happened outside, appended at once, never rolled back."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.place.touch()

    def happen(self, what: str, key: str) -> str:
        """`what` happens."""
        with self.place.open("a") as file:
            file.write(f"{what}|{key}\n")
        return what

    def lines(self) -> list[tuple[str, str]]:
        """What happened and with which key, in order."""
        return [tuple(line.split("|")) for line in self.place.read_text().splitlines()]  # type: ignore[misc]

    def count(self, beginning: str = "") -> Counter[str]:
        """How often each of those happened that begin so."""
        return Counter(what for what, _ in self.lines() if what.startswith(beginning))


class Death:
    """Processes, one after the other, of which one dies around commit number `at` of them all; 0 for none."""

    ends: tuple[int, ...] = (0, DEAD)  # the exit codes that are expected

    def __init__(self, at: int, *, after: bool) -> None:
        self._at, self._after = at, after
        self._context = multiprocessing.get_context("fork")
        self._commits = self._context.Value("i", 0)

    def of(self, play: Callable[[], object], before: Callable[[], object] = lambda: None) -> bool:
        """Whether the process in which `play` is played died; nothing counts that it does `before`."""
        connection.close()
        child = self._context.Process(target=self._play, args=(play, before))
        child.start()
        child.join(120)
        code = child.exitcode
        child.close()
        assert code in self.ends, f"the process ended with {code}"
        return code != 0

    def committed(self, number: int) -> None:
        """Commit number `number` of them all is done; nobody died before it."""

    def _play(self, play: Callable[[], object], before: Callable[[], object]) -> None:
        before()
        database = type(connection._connections["default"])  # type: ignore[attr-defined]
        database.commit = self._around(database.commit)
        checkpoint.execute_prepared = self._around(checkpoint.execute_prepared, alone=True)
        lease.execute_prepared = self._around(lease.execute_prepared, alone=True)  # type: ignore[attr-defined]
        play()
        connection.close()
        os._exit(0)

    def _around(self, real: Callable[..., Any], *, alone: bool = False) -> Callable[..., Any]:
        def dying(*args: Any) -> Any:
            if alone and connection.in_atomic_block:
                return real(*args)  # a part of a transaction, whose commit counts
            self._commits.value += 1
            if self._commits.value == self._at and not self._after:
                os._exit(DEAD)
            done = real(*args)
            if self._commits.value == self._at:
                os._exit(DEAD)
            self.committed(self._commits.value)
            return done

        return dying
