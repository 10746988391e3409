"""How a tool and a call look on a command line, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from tools import ports
from tools.canonical import Json
from tools.cli.protected import breaker_as_json, limit_as_json
from tools.contract import Tool
from tools.misfits import Counted
from tools.models import ToolCall
from tools.registry import all_tools
from tools.retry import RetryPolicy


def tool_as_json(tool: Tool) -> dict[str, Json]:
    """Everything that is declared about `tool`, and how its breaker and limit stand."""
    plain = ("name", "title", "description", "version", "effect", "risk", "reversibility", "timeout", "queue")
    return {
        **{name: getattr(tool, name) for name in plain},
        "takes_key": tool.takes_key,
        "rollback": tool.rollback,
        "hooks": tool.hooks,
        "lookup_is_final": tool.lookup_is_final,
        "retry": asdict(tool.retry),
        "breaker": breaker_as_json(tool),
        "limit": limit_as_json(tool),
        "contract_digest": tool.contract_digest,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
    }


def used_by(tool: Tool) -> list[str]:
    """Who declares that it uses `tool`: agents, and tools that it undoes."""
    undone = [
        f"tool {other.name}, which it rolls back" for other in all_tools() if other.rollback == tool.name
    ]
    return [*ports.users_of(tool.name), *undone]


def in_lines(tool: Tool) -> list[tuple[str, str]]:
    """What `tools show` says of `tool`, by its label."""
    users = used_by(tool)
    return [
        ("title", tool.title),
        ("description", " ".join(tool.description.split()) or "none"),
        ("effect", f"{tool.effect}, {_KEYS[tool.takes_key]}"),
        ("risk", str(tool.risk)),
        ("reversibility", str(tool.reversibility)),
        ("rollback", tool.rollback or "none"),
        ("version", str(tool.version)),
        ("contract", tool.contract_digest),
        ("timeout", f"{tool.timeout:g} s"),
        ("retry", _retry(tool.retry)),
        ("queue", tool.queue or "that of its run"),
        ("hooks", _hooks(tool)),
        ("used by", "; ".join(users) if users else "no agent; workflows may call it all the same"),
    ]


_KEYS = {True: "takes the idempotency key", False: "takes no idempotency key"}


def misfits_as_json(tool: Tool, counted: Counted) -> dict[str, Json]:
    """How many results did not fit the contract of `tool`, and how many earlier ones of its contracts."""
    now = counted.get((tool.name, tool.contract_digest))
    every = [found for (name, _), found in counted.items() if name == tool.name]
    return {
        "misfits": now.count if now else 0,
        "last_misfit_at": moment(now.last_at) if now else None,
        "misfits_of_other_contracts": sum(found.count for found in every) - (now.count if now else 0),
    }


def misfits_in_words(told: dict[str, Json]) -> str:
    """The same for people."""
    if not told["misfits"] and not told["misfits_of_other_contracts"]:
        return "all fitted the contract"
    said = f"{told['misfits']} did not fit this contract"
    last = f", the last one at {told['last_misfit_at']}" if told["last_misfit_at"] else ""
    others = told["misfits_of_other_contracts"]
    return said + last + (f"; {others} did not fit another one of it" if others else "")


def _retry(policy: RetryPolicy) -> str:
    return (
        f"{policy.attempts} attempts, waits of at most {policy.base:g} s that double up to {policy.cap:g} s, "
        f"none after {policy.total:g} s"
    )


def _hooks(tool: Tool) -> str:
    return (
        ", ".join(
            "lookup (final)" if hook == "lookup" and tool.lookup_is_final else hook for hook in tool.hooks
        )
        or "none"
    )


def call_as_json(call: ToolCall) -> dict[str, Json]:
    """Every column of `call` but its error, which may hold what it was given."""
    plain = ("tool", "version", "effect", "state", "attempt", "key", "arguments_digest", "result_digest")
    return {
        "call": call.id,
        "run": call.run_id,
        "step": call.step_id,
        **{name: getattr(call, name) for name in plain},
        "failure_class": call.failure_class,
        "started_at": moment(call.started_at),
        "finished_at": moment(call.finished_at),
        "not_before": moment(call.not_before),
        "settled_by": call.settled_by,
        "note": call.note,
    }


def moment(at: datetime | None) -> str | None:
    """A moment as programs read it."""
    return at.isoformat(timespec="seconds") if at else None
