"""On whose word the version of a workflow that a run follows could start runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runs.actors import plain_name
from runs.models import Run, VersionState, WorkflowVersion


@dataclass(frozen=True)
class Activation:
    """Who had activated the version when the run was asked for, when and why. `other_code` is whether that
    was with other code than the run began with.
    """

    by: str
    at: datetime
    reason: str
    other_code: bool


def activation_of(run: Run) -> Activation | None:
    """What was true when `run` was asked for; None where nobody had to activate its version."""
    rows = WorkflowVersion.history.filter(
        name=run.workflow, version=run.version, activated_at__lte=run.created_at
    )
    row = rows.order_by("-activated_at", "-history_id").first()
    if row is None or row.state != VersionState.ACTIVE:
        return None
    other = bool(run.code and row.code) and run.code != row.code
    return Activation(plain_name(row.activated_by), row.activated_at, row.note, other)
