"""How a tool's breaker and limit stand, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tools import breakers, limits
from tools.breaker import BreakerState
from tools.contract import Tool


def breaker_as_json(tool: Tool) -> dict[str, Any]:
    """The breaker as declared and as it stands; without one only that."""
    if tool.breaker is None:
        return {"state": None}
    row = breakers.state_of(tool.name)
    told = {"state": str(row.state) if row else BreakerState.CLOSED.value, "options": asdict(tool.breaker)}
    if row is None or row.state == BreakerState.CLOSED:
        return told
    again = row.retry_at if row.state == BreakerState.OPEN else row.probe_until
    return {
        **told,
        "reason": row.reason,
        "since": row.changed_at.isoformat(timespec="seconds"),
        "next_try": again.isoformat(timespec="seconds") if again else None,
        "opened": row.trips,
    }


def in_words(told: dict[str, Any]) -> str:
    """The breaker in a line."""
    if told["state"] is None:
        return "none"
    if told["state"] == BreakerState.CLOSED:
        return "closed: calls pass"
    if told["state"] == BreakerState.HALF_OPEN:
        return f"half-open: one call is out to see; it had opened because {told['reason']}"
    return f"open: no call passes before {told['next_try']}; {told['reason']}"


def passes(tool: Tool) -> str:
    """Whether calls of `tool` pass, in a word, and how many stand in line."""
    state = breaker_as_json(tool)["state"] or BreakerState.CLOSED.value
    word = {BreakerState.CLOSED: "pass", BreakerState.OPEN: "stopped", BreakerState.HALF_OPEN: "one passes"}
    in_line = limits.waiting_at(tool.name) if tool.limit else 0
    return word[BreakerState(state)] + (f", {in_line} in line" if in_line else "")


def limit_as_json(tool: Tool) -> dict[str, Any] | None:
    """The limit as declared and how far it is used; None without one."""
    if tool.limit is None:
        return None
    return {
        **asdict(tool.limit),
        "under_way": limits.under_way_at(tool.name),
        "in_line": limits.waiting_at(tool.name),
    }


def limit_in_words(tool: Tool) -> str:
    """The limit in a line."""
    told = limit_as_json(tool)
    if told is None:
        return "none"
    rate = f"{told['per_second']:g} a second, {told['burst']} together" if told["per_second"] else ""
    at_once = f"{told['at_once']} at once, {told['under_way']} under way" if told["at_once"] else ""
    return "; ".join(part for part in (rate, at_once, f"{told['in_line']} in line") if part)
