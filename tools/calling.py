"""The one place where a tool's body runs: what the body may know of its call, and what it is given for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.scrubbing import scrub
from tools.secrets import opened

if TYPE_CHECKING:
    from tools.canonical import Json
    from tools.contract import Tool


@dataclass(slots=True)
class Current:
    """The call whose body, or whose lookup, runs here."""

    tool: str
    key: str
    call_id: str  # empty in a lookup
    ends: float  # time.monotonic() at which the call's time is used up
    acts: bool = False  # whether its body may change the world
    #: Whether a request that may have changed something was answered, or lost: what fails later in the same
    #: call does not prove that nothing was done.
    changed: bool = False

    def left(self) -> float:
        """Seconds until the call's time is used up; 0 at the least."""
        return max(0.0, self.ends - time.monotonic())


_current: ContextVar[Current | None] = ContextVar("the call", default=None)


def current() -> Current | None:
    """The call whose body or lookup runs here, if any does."""
    return _current.get()


def perform(tool: Tool, arguments: Mapping[str, Any], key: str, call_id: str) -> Json:
    """The result of the tool's body for these arguments, as JSON that fits its contract.

    Its secrets are open while it runs, and none of their values is in the result. Raises what Tool.invoke
    raises, and SecretMissing or SecretsAway when it was not begun.
    """
    ends, acts = time.monotonic() + tool.timeout, tool.effect.changes_the_world
    token = _current.set(Current(tool.name, key, call_id, ends, acts))
    try:
        if not tool.secrets:
            return tool.invoke(arguments, key)
        with opened(tool.secrets, tool.name):
            return _clean(tool, tool.invoke(arguments, key))
    finally:
        _current.reset(token)


def ask(tool: Tool, key: str) -> Json | None:
    """What the tool's lookup finds for `key`, with the tool's secrets open. Raises what Tool.find raises."""
    looking = Current(tool.name, key, "", time.monotonic() + tool.timeout)
    with during(looking), opened(tool.secrets, tool.name):
        return _clean(tool, tool.find(key))


@contextmanager
def during(call: Current) -> Iterator[None]:
    """Make `call` the current one inside the block; tests of a tool's function use it too."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)


def _clean(tool: Tool, result: Json) -> Json:
    """The result without the values of secrets. Raises InvalidOutput when it does not fit without them."""
    cleaned = scrub(result)
    return result if cleaned == result else tool.as_result(cleaned)
