"""The shop's tools, called as experts called them in 115 real cases, leave the records as they must be."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from examples.support_desk.cases import Case, PlannedCall, read_cases
from examples.support_desk.comparison import differences
from examples.support_desk.loading import load
from examples.support_desk.records import comparable
from tools import registry
from tools.failures import Refused

DATA = os.environ.get("HOLDPOINT_RETAIL_DATA", "")

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not DATA, reason="HOLDPOINT_RETAIL_DATA does not name the folder of the retail data"),
]

# The only results whose words are our own.
OWN_WORDS = {"transfer_to_human_agents"}


def play(case: Case, shop: str) -> list[tuple[PlannedCall, Any]]:
    """Every call of the case with its result, None where the shop refused."""
    return [(call, _answer(call, shop, f"{shop}/{position}")) for position, call in enumerate(case.calls)]


def _answer(call: PlannedCall, shop: str, key: str) -> Any:
    tool = registry.get(call.tool)
    given = dict(call.arguments) | ({"shop": shop} if "shop" in tool.input_schema["properties"] else {})
    arguments = tool.validate(given)
    try:
        tool.check(tool.call(arguments, key))
        return tool.invoke(arguments, key)
    except Refused:
        return None


def recorded(call: PlannedCall) -> Any:
    try:
        return comparable(json.loads(call.result))
    except ValueError:
        return call.result


def test_all_cases_leave_the_records_as_expected() -> None:
    folder = Path(DATA)
    load(folder)
    cases = read_cases(folder / "tasks.jsonl")
    wrong: list[str] = []
    for case in cases:
        for call, result in play(case, case.task_id):
            if (result is None) != call.refused:
                wrong.append(f"{case.task_id}: {call.tool} was {'' if result is None else 'not '}refused")
            elif result is not None and call.tool not in OWN_WORDS | {"calculate"}:
                wrong += [f"{case.task_id}: {call.tool} answered otherwise"] * (
                    comparable(result) != recorded(call)
                )
            elif call.tool == "calculate" and result is not None:
                wrong += [f"{case.task_id}: {call.arguments}"] * (float(result) != float(call.result))
        wrong += [
            f"{case.task_id}: {difference}" for difference in differences(case.task_id, case.expected_changes)
        ]
    assert wrong == []
    assert len(cases) == 115
