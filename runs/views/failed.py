"""What stands on the page of a run that failed: where it failed, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runs import services
from runs.models import Run, Step
from runs.pages.acts import label_of
from runs.services import Consequence
from runs.states import RunState, StepState
from runs.views.control import controls_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True)
class Failure:
    """`step` is the one that failed, None where the workflow's own code did, at `where`. `retry` is what a
    retry would do, None for a viewer who may not.
    """

    step: Step | None
    label: str
    where: str
    retry: Consequence | None


def failure_of(run: Run, steps: Sequence[Step], viewer: User) -> Failure | None:
    """How `run` with its last `steps` failed; None when it did not."""
    if run.state != RunState.FAILED:
        return None
    step = next((step for step in reversed(steps) if "/" not in step.path), None)
    failed = step if step is not None and step.state in (StepState.FAILED, StepState.REFUSED) else None
    may = "retry" in dict(controls_of(run, viewer))
    return Failure(
        step=failed,
        label=label_of(failed) if failed else "",
        where=_where(run.output),
        retry=services.consequence_of("retry", run) if may else None,
    )


def _where(output: Any) -> str:
    """The line of code that raised, as the run recorded it."""
    error = output.get("error") if isinstance(output, dict) else None
    where = error.get("where") if isinstance(error, dict) else None
    return str(where[-1]) if isinstance(where, list) and where else ""
