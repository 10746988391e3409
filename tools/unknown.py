"""Outcomes that nobody knows yet: when one may be settled, and what a tool's own lookup says about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tools import calling, registry
from tools.canonical import Json
from tools.contract import Tool
from tools.failures import classify
from tools.models import Outcome, ToolCall

__all__ = ["CannotLook", "Finding", "Outcome", "look", "look_up", "too_early"]


class CannotLook(Exception):
    """The tool's lookup is missing, or did not answer."""


@dataclass(frozen=True)
class Finding:
    """What a lookup says. `outcome` is None when that settles nothing; `sentence` says what to do then."""

    outcome: Outcome | None
    result: Json
    sentence: str


def too_early(call: ToolCall, now: datetime) -> str:
    """Why `call` may not be settled yet, or nothing. Pure.

    Until its not-before time a worker that stalled just before sending may still wake up and send it, so no
    answer that a person could give now would hold.
    """
    if call.not_before is None:
        return f"{call.id} has no not-before time, so nobody can say when it is safe to settle it"
    if now < call.not_before:
        return (
            f"{call.id} may still be sent by a stalled worker until {call.not_before:%Y-%m-%d %H:%M:%S %Z}; "
            "settle it after that"
        )
    return ""


def look_up(tool: Tool, key: str) -> Json | None:
    """The result of the call with this key if the lookup finds it, else None: `Tool.find` with one error.

    Raises CannotLook when there is no lookup, when it fails in any way, or when what it found does not fit.
    """
    if not tool.has("lookup"):
        raise CannotLook(f"{tool.name} has no lookup, so only a person can find out what became of a call")
    try:
        return calling.ask(tool, key)
    except Exception as error:
        failure = classify(error)
        raise CannotLook(f"The lookup of {tool.name} failed ({failure.kind}): {failure.message}") from error


def look(call: ToolCall, now: datetime) -> Finding:
    """Ask the tool's lookup what became of `call`. It touches the outside: never call it in a transaction.

    Found is proof at any time. Not found is proof only from a lookup that is declared final, and only once no
    worker can send the call any more; otherwise it is a hint for a person. Raises CannotLook.
    """
    try:
        tool = registry.get(call.tool)
    except registry.UnknownTool as error:
        raise CannotLook(str(error)) from error
    found = look_up(tool, call.key)
    if found is not None:
        return Finding(Outcome.HAPPENED, found, f"The lookup of {call.tool} found it: it happened.")
    early = too_early(call, now)
    if early:
        return Finding(None, None, f"The lookup of {call.tool} does not find it yet; {early}.")
    if tool.lookup_is_final:
        return Finding(Outcome.DID_NOT_HAPPEN, None, f"The final lookup of {call.tool} does not know it.")
    return Finding(
        None,
        None,
        f"The lookup of {call.tool} does not find it: it seems not to have happened. Settle it by hand.",
    )
