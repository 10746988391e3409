"""The turn of a replay: it ends where the record ends, whatever the code wants.

Nothing can be written or done here: the turn knows only what has ended on record, and every way to go on from
there (a new step, a commit, a lock, the body of a call) raises EndOfRecord instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from runs.clock import TurnClock
from runs.journal import Entry
from runs.models import Blob, Run, Step
from runs.states import StepState
from runs.stops import EndOfRecord
from runs.turns.checkpoint import Write
from runs.turns.turn import Turn
from runs.values import BLOB

T = TypeVar("T")

#: Steps that are on record only once they have decided; until then the code asks in vain and goes on.
DECIDE_LATE = frozenset({"gather", "race"})
#: Steps that consist of other steps: their inside is replayed also while they are under way.
HOLD_OTHERS = frozenset({"agent", "branch"})
SETTLED = frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.REFUSED})
READING = ("SELECT", "EXPLAIN", "SAVEPOINT", "RELEASE", "ROLLBACK")


@dataclass(frozen=True)
class Record:
    """What is replayed: the run and its steps, from the database or from a file."""

    run: Run
    steps: Sequence[Step]
    blobs: Mapping[str, bytes] = field(default_factory=dict)  # by digest, where they are not in the database


class ReplayTurn(Turn):
    """A turn that ends where the record ends, whatever the code wants."""

    replays = True

    def __init__(self, run: Run, record: Record) -> None:
        steps = [copy(step) for step in record.steps]
        super().__init__(run, steps, worker="", clock=TurnClock.started(run.created_at))
        # Read from there as if they were still to be written; nothing ever writes them.
        rows = [(digest, raw, len(raw), run.created_at) for digest, raw in record.blobs.items()]
        self.pending.others.append(Write(Blob, BLOB, inserts=rows))
        self.compared: set[str] = set()
        self.asked = ("", "", "")

    def find(
        self,
        path: str,
        kind: str,
        name: str,
        fingerprint: str,
        arguments: Any = None,
        *,
        fits: Callable[[Step], bool] | None = None,
    ) -> Step | None:
        """The ended step recorded at `path`. Raises EndOfRecord when there is none, and Diverged."""
        self.asked = (path, kind, name)
        self.visited.add(path)
        step = super().find(path, kind, name, fingerprint, arguments, fits=fits)
        if step is None:
            if kind in DECIDE_LATE:
                return None
            self.end_here()
        self.compared.add(path)
        if step.state in SETTLED or (step.state == StepState.STARTED and kind in HOLD_OTHERS):
            return step
        self.end_here()

    def furthest(self, below: str) -> int:
        """As for a turn; the record of a run that has ended went past every change that it does not know."""
        return sys.maxsize if self.run.ended else super().furthest(below)

    def _begin_only_if_staying(self) -> None:
        """Nothing is begun here."""

    def end_here(self, step: Step | None = None) -> NoReturn:
        """What is on record ends: here the code would act."""
        path, kind, name = (step.path, step.kind, step.name) if step is not None else self.asked
        raise self.stop(EndOfRecord(path, kind, name))

    # Every way to go on from the record

    def new_step(self, path: str, kind: str, name: str, fingerprint: str, **values: Any) -> Step:
        raise self.stop(EndOfRecord(path, kind, name))

    def changed(self, step: Step, *, kind: str = "~", reason: str | None = None) -> None:
        self.end_here(step)

    def restart(self, step: Step) -> None:
        self.end_here(step)

    def finished(self, step: Step) -> None:
        self.end_here(step)

    def new_call(self, call: Any) -> None:
        self.end_here()

    def changed_call(self, call: Any) -> None:
        self.end_here()

    def call_of(self, step: Step) -> NoReturn:
        self.end_here(step)

    def new_errand(self, errand: Any) -> None:
        self.end_here()

    def changed_errand(self, errand: Any) -> None:
        self.end_here()

    def commit(self, **how: Any) -> bool:
        self.end_here()

    def commit_together(self, lease: float) -> None:
        self.end_here()

    def intend(self, lease: float, *steps: Step) -> None:
        self.end_here()

    def perform(self, body: Callable[[], T], *, timeout: float, waits: bool, slow: bool = False) -> T:
        self.end_here()

    def lock(self, *, under_orders: bool = False) -> None:
        self.end_here()

    def waits_for_order(self, path: str, subject: Any, order: Any) -> NoReturn:
        self.end_here()

    def also(self, write: Write) -> None:
        self.end_here()

    def alongside(self, act: Callable[[], list[Entry]]) -> None:
        self.end_here()

    def set_column(self, name: str, value: Any) -> None:
        self.end_here()

    def move_run(self, reason: str = "") -> dict[str, Any]:
        self.end_here()

    def note(self, kind: str, sentence: str, step: Step | None = None, /, **content: Any) -> None:
        """Nothing is noted."""

    def rest(self) -> None:
        """The connection belongs to whoever asked for the replay."""


# What the code does by itself


class Forbidden(ImproperlyConfigured):
    """The code of a workflow wrote to the database by itself, past its run."""


@contextmanager
def reads_only() -> Iterator[None]:
    """The code of a workflow may at most read while it is replayed; anything else raises Forbidden."""
    with connection.execute_wrapper(_only_reading):
        yield


def _only_reading(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    if not str(sql).lstrip("( \n").upper().startswith(READING) or "FOR UPDATE" in str(sql).upper():
        raise Forbidden("The code of a workflow may not write to the database by itself.")
    return execute(sql, params, many, context)
