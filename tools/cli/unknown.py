"""``tools unknown``: the calls whose outcome nobody knows."""

from __future__ import annotations

from typing import Any

from tools.canonical import Json
from tools.cli.answers import Answers, Verb, no_arguments, table
from tools.cli.described import moment
from tools.clock import db_now
from tools.doubts import InDoubt, in_doubt

_COLUMNS = ("call", "at_risk", "asks", "tool", "run", "started_at", "not_before", "key")
_MOST = 1_000


def _unknown(answers: Answers, options: dict[str, Any]) -> None:
    now = db_now()
    calls = [_told(one, waiting=one.early(now)) for one in in_doubt(_MOST)]
    rows = [tuple(str(call[column] or "") for column in _COLUMNS) for call in calls]
    answers.give(calls, table(_COLUMNS, rows) if rows else "No call has an unknown outcome.")


def _told(one: InDoubt, *, waiting: bool) -> dict[str, Json]:
    call, standing = one.call, one.standing
    return {
        "call": call.id,
        "tool": call.tool,
        "effect": call.effect,
        "run": call.run_id,
        "step": call.step_id,
        "attempt": call.attempt,
        "key": call.key,
        "started_at": moment(call.started_at),
        "not_before": moment(call.not_before),
        "may_be_settled": not waiting,
        "error": call.error,
        "at_risk": str(one.stake),
        "asks": _asks(one),
        "lookup": one.inquiry.said if one.inquiry else "",
        "last_said": standing.last,
        "said": [
            {"by": said.by, "at": moment(said.at), "outcome": said.outcome, "note": said.note}
            for said in standing.said
        ],
    }


def _asks(one: InDoubt) -> str:
    """What it needs from people beyond a first look."""
    if one.standing.conflict:
        return "people say different things"
    if one.standing.answers:
        return "a second person"
    return "a second look" if one.standing.second_look else ""


VERB = Verb("unknown", "the calls whose outcome nobody knows, the most money first", no_arguments, _unknown)
