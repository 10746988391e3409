"""``tools unknown``: the calls whose outcome nobody knows."""

from __future__ import annotations

from typing import Any

from tools.canonical import Json
from tools.cli.answers import Answers, Verb, no_arguments, table
from tools.cli.described import moment
from tools.clock import db_now
from tools.models import ToolCall
from tools.unknown import too_early

_COLUMNS = ("call", "tool", "run", "started_at", "not_before", "key")


def _unknown(answers: Answers, options: dict[str, Any]) -> None:
    now = db_now()
    calls = [_in_doubt(call, bool(too_early(call, now))) for call in ToolCall.objects.unknown()]
    rows = [tuple(str(call[column]) for column in _COLUMNS) for call in calls]
    answers.give(calls, table(_COLUMNS, rows) if rows else "No call has an unknown outcome.")


def _in_doubt(call: ToolCall, waiting: bool) -> dict[str, Json]:
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
    }


VERB = Verb("unknown", "the calls whose outcome nobody knows, the oldest first", no_arguments, _unknown)
