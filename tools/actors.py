"""Who acts: the word that stands beside every change in history and journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SYSTEM = "system"
CARETAKER = "caretaker"

_current: ContextVar[str] = ContextVar("holdpoint_actor", default=SYSTEM)


def user(username: str) -> str:
    """The actor string of a person, such as ``user:ana``."""
    return f"user:{username}"


def username_of(actor: str) -> str | None:
    """The username in an actor string, or None when a machine acted."""
    kind, _, name = actor.partition(":")
    return name if kind == "user" and name else None


def plain_name(actor: str) -> str:
    """The actor as a reader wants it: a person's username, or what kind of machine it was."""
    kind, _, name = actor.partition(":")
    words = {"user": name, "worker": "a worker", "agent": f"agent {name}", "run": name}
    return words.get(kind, f"the {kind}")


def current() -> str:
    """The actor in whose name this code runs."""
    return _current.get()


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """Everything saved inside carries `actor` into its history row."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)
