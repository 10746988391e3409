"""The protection of one call by its tool's breaker and limit: from before it is begun until it is over."""

from __future__ import annotations

from tools import breakers, limits
from tools.contract import Tool
from tools.failures import FailureClass, ToolUnavailable, classify
from tools.limits import Wait


def is_guarded(tool: Tool) -> bool:
    """Whether calls of `tool` ask anybody before they are begun."""
    return tool.breaker is not None or tool.limit is not None


def begin(tool: Tool, key: str, run_id: str) -> Wait | None:
    """Right before the call with `key` is begun: None when it may be, or for what it waits in line.

    Once it may, `over` or `not_begun` must say what became of it; what nobody says lapses. Safe to ask again.
    Raises ToolUnavailable, and django.db.Error when the limit cannot be read.
    """
    if not is_guarded(tool):
        return None
    breakers.must_be_available(tool, key)
    wait = limits.reserve(tool, key, run_id)
    if wait is None:
        try:
            breakers.take(tool, key)
        except ToolUnavailable:
            limits.give_back(tool, key)
            raise
    return wait


def not_begun(tool: Tool, key: str) -> None:
    """The call was let through and is not begun after all."""
    breakers.give_back(tool, key)
    limits.give_back(tool, key)


def over(tool: Tool, key: str, error: BaseException | None, seconds: float) -> None:
    """The body of the call is over, after so many seconds and with the `error` that it raised, if it did.

    Never raises.
    """
    if not is_guarded(tool):
        return
    breakers.observe(tool, key, error, seconds)
    if error is not None:
        failure = classify(error)
        if failure.kind is FailureClass.RATE_LIMITED:
            limits.hold_back(tool, failure.retry_after)
    limits.give_back(tool, key)
