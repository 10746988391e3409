"""How a run stands: in which state, who brought it there and when, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from runs.actors import plain_name
from runs.models import Run
from runs.services.record import NotPossible
from runs.states import RunState, look_of

CHANGES_READ = 200

#: The states in which a person may do it.
POSSIBLE: dict[str, frozenset[RunState]] = {
    "pause": frozenset({RunState.QUEUED, RunState.RUNNING, RunState.WAITING}),
    "resume": frozenset({RunState.PAUSED, RunState.NEEDS_ATTENTION}),
    "cancel": frozenset(
        {
            RunState.QUEUED,
            RunState.RUNNING,
            RunState.WAITING,
            RunState.PAUSING,
            RunState.PAUSED,
            RunState.NEEDS_ATTENTION,
        }
    ),
    "retry": frozenset({RunState.FAILED, RunState.NEEDS_ATTENTION, RunState.PAUSED}),
    "fork": frozenset(RunState),
}
#: What it is called when it is done.
DONE = {
    "pause": "paused",
    "resume": "resumed",
    "cancel": "cancelled",
    "retry": "retried",
    "fork": "forked",
}
_SAID = {
    RunState.NEEDS_ATTENTION: "needs attention",
    RunState.SUCCEEDED: "has succeeded",
    RunState.FAILED: "has failed",
    RunState.CANCELLED: "was cancelled",
}
_MEANWHILE = {
    RunState.PAUSING: "It stands still after the step in hand; then it can be resumed.",
    RunState.CANCELLING: "It ends by itself once it has cleaned up; if that fails, it needs attention, and "
    "can then be resumed or cancelled for good.",
}


@dataclass(frozen=True)
class Standing:
    """The state of a run, the actor who brought it there, when and why."""

    state: RunState
    by: str
    since: datetime
    reason: str


def standing_of(run: Run) -> Standing:
    """How `run` stands, from its history."""
    found: Standing | None = None
    changes = run.history.order_by("-history_date", "-history_id")
    for row in changes.only("state", "actor", "history_date", "history_change_reason")[:CHANGES_READ]:
        if row.state != run.state:
            break
        reason = row.history_change_reason or ""
        found = Standing(RunState(run.state), row.actor, row.history_date, reason)
    return found or Standing(RunState(run.state), run.requester, run.created_at, "")


def possible_with(run: Run) -> list[str]:
    """What a person may do with `run` as it stands."""
    possible = [verb for verb, states in POSSIBLE.items() if run.state in states]
    if was_cancelling(run):
        possible.remove("retry")
    return possible


def was_cancelling(run: Run) -> bool:
    """Whether a run that needs attention was being cancelled when it stopped."""
    return bool((run.attention or {}).get("cleanup"))


def must_allow(verb: str, run: Run) -> None:
    """Raises NotPossible when `run` is not in a state in which that can be done."""
    if verb not in possible_with(run):
        raise NotPossible(cannot(verb, run))


def how_it_stands(run: Run) -> str:
    """The state, since when and by whom, as a sentence."""
    return f"{_stands(run)}."


def _stands(run: Run) -> str:
    now = standing_of(run)
    said = _SAID.get(RunState(run.state), f"is {look_of(run.state).word.lower()}")
    when = f"{'at' if run.ended else 'since'} {now.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{run.id} {said} ({when}, by {plain_name(now.by)})"


def cannot(verb: str, run: Run) -> str:
    """How the run stands, who brought it there and when, and what can be done instead of `verb`."""
    told = [f"{_stands(run)}, so it cannot be {DONE[verb]}."]
    if was_cancelling(run) and verb == "retry":
        told.append("It was being cancelled when it stopped.")
    others = [DONE[other] for other in possible_with(run) if other != verb]
    told.append(_MEANWHILE.get(RunState(run.state), ""))
    if others:
        told.append(f"It can be {_listed(others)}.")
    return " ".join(part for part in told if part)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
