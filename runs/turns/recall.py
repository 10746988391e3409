"""What is on record of a run, found again as its code asks for it; anything else is a divergence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import InterfaceError, OperationalError

from runs.crew import workers
from runs.models import Run, Step
from runs.stops import (
    Controlled,
    Diverged,
    EndOfRecord,
    HandedOver,
    Lost,
    NeedsAttention,
    Stop,
    Suspend,
    Unreachable,
    named,
)
from runs.turns.lanes import Lanes

#: What ends one branch and leaves the others to go on.
OF_ONE_BRANCH = (Suspend, NeedsAttention, Lost, EndOfRecord)


class Recall:
    """The steps of one run by path, what of them was asked for, and why the turn ends when it does."""

    lanes: Lanes

    def __init__(self, run: Run, steps: list[Step]) -> None:
        self.run = run
        self.steps = {step.path: step for step in steps}
        self.visited: set[str] = set()
        self.ended_branches: dict[str, str] = {}  # by how the paths of their steps begin: their names
        self.unpatched: set[str] = set()  # changes that the record went past
        self.stopped: Stop | None = None
        self.asked_to: str = ""  # the state a person asked for meanwhile: pausing or cancelling
        self._recorded = tuple(self.steps)
        self._furthest: dict[str, int] | None = None

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
        """The step recorded at `path`, or None. Raises Diverged when it is another step than is asked for;
        `arguments` (JSON) are what the code asks with, for whoever must compare. `fits` says of a step with
        another fingerprint whether it is what is asked for nevertheless.
        """
        self.go_on_only_if_running()
        self.visited.add(path)
        step = self.steps.get(path)
        asked = named(kind, name)
        if step is None:
            self._refuse_below_ended(path, asked, arguments)
            self._begin_only_if_staying()
            return None
        if (step.kind, step.name) != (kind, name):
            raise self.stop(self._diverged(step, named(step.kind, step.name), asked, arguments))
        if step.fingerprint != fingerprint and not (fits and fits(step)):
            raise self.stop(self._diverged(step, f"{asked} with other arguments", asked, arguments))
        return step

    def _refuse_below_ended(self, path: str, asked: str, arguments: Any) -> None:
        """A branch that has ended begins nothing more: its code has changed."""
        for below, name in self.ended_branches.items():
            if path.startswith(below):
                raise self.stop(Diverged(path, f"the end of branch {name}", asked, asked_arguments=arguments))

    def check_branch_visited(self, branch: Step) -> None:
        """On replay of a branch that had ended: every step recorded in it was asked for again."""
        below = f"{branch.path}/"
        for inner, step in self.steps.items():
            own = inner.startswith(below) and inner.removeprefix(below).isdecimal()
            if own and inner not in self.visited:
                raise self.stop(
                    Diverged(inner, named(step.kind, step.name), f"the end of branch {branch.name}")
                )

    def _diverged(self, step: Step, recorded: str, asked: str, arguments: Any) -> Diverged:
        kept = step.arguments
        return Diverged(step.path, recorded, asked, recorded_arguments=kept, asked_arguments=arguments)

    def check_all_visited(self) -> None:
        """At the end: every recorded top-level step was asked for again, or the code has changed."""
        for path, step in self.steps.items():
            if "/" in path or "~" in path or step.kind == "patch":
                continue  # a change that the code no longer asks about is in every run by now
            if path not in self.visited:
                raise self.stop(Diverged(path, named(step.kind, step.name), "the end of the workflow"))

    def furthest(self, below: str) -> int:
        """The number of the last act on record below `below` (empty: at the top) as the turn began."""
        if self._furthest is None:
            self._furthest = {}
            for path in self._recorded:
                while path:
                    path, _, last = path.rpartition("/")
                    where = f"{path}/" if path else ""
                    if last.isdecimal():
                        self._furthest[where] = max(self._furthest.get(where, 0), int(last))
        return self._furthest.get(below, 0)

    def stop(self, reason: Stop) -> Stop:
        """Remember why the turn ends, so that code which swallows it gets it again at its next call."""
        lane = self.lanes.current()
        if lane is not None and isinstance(reason, OF_ONE_BRANCH):
            lane.stopped = lane.stopped or reason
        else:
            self.stopped = self.stopped or reason
        return reason

    def go_on_only_if_running(self) -> None:
        """Raise the reason again when the turn, or the branch that asks, has ended already."""
        if self.stopped is not None:
            raise self.stopped
        self.lanes.go_on_only_if_running()
        if self.asked_to:
            raise self.stop(Controlled(self.asked_to))

    def _begin_only_if_staying(self) -> None:
        if workers.leaving():
            raise self.stop(HandedOver("this worker was asked to end"))

    def taken_over(self, step: Step) -> bool:
        """Whether `step` was started under an earlier lease, by a turn that never told how it ended."""
        return step.epoch != self.run.lease_epoch

    @contextmanager
    def needing_the_database(self) -> Iterator[None]:
        """Around what the engine itself reads and locks: a lost connection ends the turn, never the run."""
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise self.stop(Unreachable(f"{self.run.id}: {error}")) from error
