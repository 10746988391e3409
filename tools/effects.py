"""The words for what a tool does to the world, how much is at stake and whether it can be undone."""

from __future__ import annotations

from enum import StrEnum


class Effect(StrEnum):
    """What a tool does to the world; it decides retries, keys, approval and recovery."""

    READ = "read"  # changes nothing
    DRAFT = "draft"  # makes something that nobody outside sees
    WRITE = "write"  # changes the world; the same key twice changes it once
    IRREVERSIBLE = "irreversible"  # changes the world for good; sent at most once

    @property
    def changes_the_world(self) -> bool:
        """Whether the outcome of a call matters outside Holdpoint."""
        return self in (Effect.WRITE, Effect.IRREVERSIBLE)


class Risk(StrEnum):
    """How much is at stake, from little to much."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Reversibility(StrEnum):
    """How much of the effect can be undone afterwards."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"


#: What holds when a tool does not say.
REVERSIBILITY_BY_EFFECT = {
    Effect.READ: Reversibility.FULL,
    Effect.DRAFT: Reversibility.FULL,
    Effect.WRITE: Reversibility.PARTIAL,
    Effect.IRREVERSIBLE: Reversibility.NONE,
}
