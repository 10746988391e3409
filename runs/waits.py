"""What a run is waiting for when it waits for people. Runs know no approvals: whoever does tells (a port)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True)
class Wait:
    """One decision or answer that a run waits for. `then` says what happens if nobody gives it by `until`."""

    run_id: str
    step_id: str
    what: str
    who: str
    since: datetime
    until: datetime | None
    then: str
    url: str
    may_act: bool  # the viewer is one of those who can end it
    kind: str = "decision"  # or answer

    @property
    def act(self) -> str:
        """The word on the link for whoever can end it."""
        return "Answer now" if self.kind == "answer" else "Review now"


Finder = Callable[[Collection[str], "User"], list[Wait]]


def _nothing(run_ids: Collection[str], viewer: User) -> list[Wait]:
    return []


_finder: Finder = _nothing
_finders: list[Finder] = []


def install(finder: Finder) -> None:
    """Put `finder` in charge; called once, when Django is ready. It makes one query, most urgent first."""
    global _finder
    _finder = finder


def add(finder: Finder) -> None:
    """Ask `finder` too, after the one in charge; the same one is asked once."""
    if finder not in _finders:
        _finders.append(finder)


def waits_of(run_ids: Collection[str], viewer: User) -> dict[str, list[Wait]]:
    """What each of the runs waits for, as `viewer` may know it; runs that wait for nobody are left out."""
    found: dict[str, list[Wait]] = {}
    for finder in (_finder, *_finders) if run_ids else ():
        for wait in finder(run_ids, viewer):
            found.setdefault(wait.run_id, []).append(wait)
    return found
