"""The moments at which a process dies: found by the commits of one that lives, then met one by one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from enum import StrEnum

from django.db import connections

from tests.ledger.client import LINE
from tests.runs.dying import DEAD, Death


class Moment(StrEnum):
    """When the process dies that makes the first attempt of a call."""

    NEVER = "no death"
    BEFORE_INTENT = "before the intent"
    AFTER_INTENT = "after the intent"
    IN_FLIGHT = "in flight"  # by SIGKILL from the ledger, which has done it and has not answered
    AFTER_EFFECT = "after the effect"  # it has the answer
    AFTER_RESULT = "after the result"


class Life(Death):
    """A process that lives, and what it finds out: the commits of the first intent and of its result."""

    def __init__(self) -> None:
        super().__init__(0, after=False)
        self._intent = self._context.Value("i", 0)
        self._result = self._context.Value("i", 0)

    def committed(self, number: int) -> None:
        """Looked at through another connection: this one is in the middle of something."""
        witness = connections.create_connection("default")
        with witness.cursor() as cursor:
            cursor.execute("SELECT state FROM tools_toolcall WHERE attempt = 1 AND run_id = %s", [self._run])
            row = cursor.fetchone()
        witness.close()
        if row is not None and not self._intent.value:
            self._intent.value = number
        if row is not None and row[0] != "started" and not self._result.value:
            self._result.value = number

    def of_run(self, run_id: str, play: Callable[[], object]) -> None:
        """Played to the end."""
        self._run = run_id
        assert not self.of(play)
        assert 0 < self._intent.value < self._result.value

    def death(self, moment: Moment) -> Death:
        """A process that dies at that moment of another run of the same kind."""
        intent, result = self._intent.value, self._result.value
        deaths = {
            Moment.BEFORE_INTENT: lambda: Death(intent, after=False),
            Moment.AFTER_INTENT: lambda: Death(intent, after=True),
            Moment.IN_FLIGHT: Killed,
            Moment.AFTER_EFFECT: lambda: Death(result, after=False),
            Moment.AFTER_RESULT: lambda: Death(result, after=True),
        }
        return deaths[moment]()


class Killed(Death):
    """A process that the ledger ends while it waits for an answer."""

    ends = (0, DEAD, -signal.SIGKILL)

    def __init__(self) -> None:
        super().__init__(0, after=False)

    def of(self, play: Callable[[], object], before: Callable[[], object] = lambda: None) -> bool:
        """As for any death; only this process asks to be ended."""

        def mortal() -> None:
            before()
            LINE.dies = True

        return super().of(play, mortal)
