"""Policies written in code: ``policy(...)`` in the ``policies.py`` of any installed app."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils.module_loading import autodiscover_modules
from pydantic import ValidationError

from approvals.policy import DEFAULT_DEADLINE, DEFAULT_NAME, Amount, Conditions, Tier, problems
from runs.gate import Next
from tools.canonical import digest
from tools.effects import Effect, Risk
from tools.signature import in_words

AUTODISCOVER_MODULE_NAME = "policies"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")

__all__ = ["Amount", "Declaration", "PolicyError", "all_declared", "discover", "policy", "scratch"]


class PolicyError(ValueError):
    """A policy is declared in a way that cannot stand; the message says what to change."""


@dataclass(frozen=True)
class Declaration:
    """One policy as its author wrote it; becomes a version row at the next migrate."""

    name: str
    tier: Tier
    conditions: Conditions
    group: str
    quorum: int
    deadline: timedelta
    on_expiry: Next
    order: int
    purpose: str

    @property
    def digest(self) -> str:
        """Tells whether the declaration has changed since a row was made from it."""
        return digest(
            {
                "tier": self.tier.value,
                "conditions": self.conditions.as_json(),
                "group": self.group,
                "quorum": self.quorum,
                "deadline": int(self.deadline.total_seconds()),
                "on_expiry": self.on_expiry.value,
                "order": self.order,
                "purpose": self.purpose,
            }
        )


_declared: dict[str, Declaration] = {}


def policy(
    name: str,
    *,
    tier: Tier | str,
    tools: Sequence[str] = (),
    effects: Sequence[Effect | str] = (),
    risks: Sequence[Risk | str] = (),
    workflows: Sequence[str] = (),
    agents: Sequence[str] = (),
    amount: Amount | None = None,
    confidence_below: float | None = None,
    confidence_at_least: float | None = None,
    untrusted: bool | None = None,
    suspicious: bool | None = None,
    group: str = "",
    quorum: int = 1,
    deadline: timedelta = DEFAULT_DEADLINE,
    on_expiry: Next | str = Next.STOP,
    order: int = 100,
    purpose: str = "",
) -> Declaration:
    """Declare who must sign what. Conditions that are left out do not matter; all that are given must hold.

    Policies are tried from the lowest `order` up, and the first that fits decides. `group` names a group of
    users, made if it is missing; empty means everyone with the permission to decide. `on_expiry` says what
    happens when nobody decides in time: ``stop``, ``send_back`` or ``continue`` without the call.

    Raises PolicyError when it cannot stand or the name is taken.
    """
    given: dict[str, Any] = {
        "tools": tools,
        "effects": effects,
        "risks": risks,
        "workflows": workflows,
        "agents": agents,
        "amount": amount,
        "confidence_below": confidence_below,
        "confidence_at_least": confidence_at_least,
        "untrusted": untrusted,
        "suspicious": suspicious,
    }
    made = Declaration(
        name=name,
        tier=_tier(name, tier),
        conditions=_conditions(name, given),
        group=group,
        quorum=quorum,
        deadline=deadline,
        on_expiry=_next(name, on_expiry),
        order=order,
        purpose=purpose,
    )
    return _add(made)


def all_declared() -> list[Declaration]:
    """Every declaration, by name."""
    return [_declared[name] for name in sorted(_declared)]


def discover() -> None:
    """Import the ``policies.py`` of every installed app, as Django finds admin.py."""
    autodiscover_modules(AUTODISCOVER_MODULE_NAME)


@contextmanager
def scratch() -> Iterator[None]:
    """For tests: nothing is declared at the start, and what is declared inside is forgotten at the end."""
    kept = dict(_declared)
    _declared.clear()
    try:
        yield
    finally:
        _declared.clear()
        _declared.update(kept)


def _add(made: Declaration) -> Declaration:
    if not _NAME.fullmatch(made.name) or made.name == DEFAULT_NAME:
        raise PolicyError(
            f"{made.name!r} cannot be a policy's name; use a to z, 0 to 9, _ and -, at most 80 of them, and "
            f"not {DEFAULT_NAME!r}, which is what holds where no policy applies"
        )
    found = problems(made.tier, made.conditions, made.quorum, made.deadline.total_seconds())
    if found:
        raise PolicyError(f"Policy {made.name}: {' '.join(found.values())}")
    if made.name in _declared and _declared[made.name] != made:
        raise PolicyError(f"There are two policies called {made.name}; give one of them another name")
    _declared[made.name] = made
    return made


def _conditions(name: str, given: dict[str, Any]) -> Conditions:
    # A single word where a list belongs would be read letter by letter.
    for field in ("tools", "effects", "risks", "workflows", "agents"):
        if isinstance(given[field], str):
            raise PolicyError(f"Policy {name}: {field} takes a list, such as {field}=[{given[field]!r}]")
    try:
        return Conditions(**given)
    except ValidationError as error:
        raise PolicyError(f"Policy {name}: {'; '.join(in_words(error))}") from None


def _tier(name: str, word: Tier | str) -> Tier:
    try:
        return Tier(word)
    except ValueError:
        raise PolicyError(f"Policy {name}: tier={word!r} is none of {', '.join(Tier)}") from None


def _next(name: str, word: Next | str) -> Next:
    try:
        return Next(word)
    except ValueError:
        raise PolicyError(
            f"Policy {name}: on_expiry={word!r} is none of {', '.join(Next)}; "
            "nothing is ever approved by waiting"
        ) from None
