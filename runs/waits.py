"""A port: what a run is waiting for when it waits for people. Runs know no approvals, whoever does tells."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True)
class Wait:
    """One decision that a run waits for. `then` says what happens if nobody takes it by `until`."""

    run_id: str
    step_id: str
    what: str
    who: str
    since: datetime
    until: datetime
    then: str
    url: str
    may_act: bool  # the viewer is one of those who can end it


Finder = Callable[[Collection[str], "User"], list[Wait]]


def _nothing(run_ids: Collection[str], viewer: User) -> list[Wait]:
    return []


_finder: Finder = _nothing


def install(finder: Finder) -> None:
    """Put `finder` in charge; called once, when Django is ready. It makes one query, most urgent first."""
    global _finder
    _finder = finder


def waits_of(run_ids: Collection[str], viewer: User) -> dict[str, list[Wait]]:
    """What each of the runs waits for, as `viewer` may know it; runs that wait for nobody are left out."""
    found: dict[str, list[Wait]] = {}
    for wait in _finder(run_ids, viewer) if run_ids else []:
        found.setdefault(wait.run_id, []).append(wait)
    return found
