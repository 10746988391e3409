"""Support cases with known answers: a request, the calls that settle it, the records that must come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from examples.support_desk.folder import BadData, parse, problems_of, read_text
from examples.support_desk.records import Record

REFUSAL = "Error"


class PlannedCall(BaseModel):
    """One tool call of a case. `result` is what an expert's tools answered; ``Error…`` is a refusal."""

    model_config = ConfigDict(extra="forbid")

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    result: Any = None

    @property
    def refused(self) -> bool:
        """Whether the shop must say no."""
        return isinstance(self.result, str) and self.result.startswith(REFUSAL)


class ExpectedChanges(BaseModel):
    """The records that must differ from the starting data afterwards, whole; none: nothing may change."""

    model_config = ConfigDict(extra="forbid")

    orders: dict[str, Record] = Field(default_factory=dict)
    users: dict[str, Record] = Field(default_factory=dict)


class Case(BaseModel):
    """One line of a file of cases."""

    model_config = ConfigDict(extra="ignore")

    task_id: str = Field(min_length=1, max_length=60)
    customer_id: str
    request: str
    calls: list[PlannedCall]
    expected_changes: ExpectedChanges
    expected_outputs: list[str] = Field(default_factory=list)


def read_cases(path: Path) -> list[Case]:
    """The cases in `path`, one JSON object a line; blank lines are passed over. Raises BadData."""
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    if not lines:
        raise BadData(
            f"{path} holds no case. Each line is one JSON object with task_id, request, calls and so on."
        )
    cases = [_case(line, f"{path}, line {number}") for number, line in lines]
    ids = [case.task_id for case in cases]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise BadData(f"{path} holds task_id {twice} twice. Every case needs an id of its own.")
    return cases


def _case(line: str, place: str) -> Case:
    try:
        return Case.model_validate(parse(line, place))
    except ValidationError as error:
        raise BadData(f"{place} is not a case: {problems_of(error)}. Mend that line.") from None
