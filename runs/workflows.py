"""The project's own workflows, beside those of the users."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from runs.context import Run, call_alone
from runs.services.calling import CALL
from runs.workflow import workflow
from tools import registry


class CallAlone(BaseModel):
    """One call: the tool by name, its arguments, and why, for whoever must decide about it."""

    tool: str
    arguments: dict[str, Any] = {}
    why: str = ""


@workflow(CALL, version=1, owner="Holdpoint", unit="one tool call")
def call(run: Run, case: CallAlone) -> Any:
    """One tool call on record, without a workflow around it."""
    return call_alone(run, registry.get(case.tool), case.arguments, why=case.why)
