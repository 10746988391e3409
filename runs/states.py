"""Every state once: its name in rows, its word and its look on screens, in the API and in commands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"  # ready to go on; the next free worker takes it
    RUNNING = "running"  # a worker holds its lease
    WAITING = "waiting"  # rows and nothing else, until a person, a clock or a message wakes it
    PAUSING = "pausing"  # an operator asked it to stop after the step in hand
    PAUSED = "paused"  # stopped by an operator, to be resumed
    CANCELLING = "cancelling"  # cleaning up before the end
    NEEDS_ATTENTION = "needs_attention"  # it cannot go on by itself; a person must look
    SUCCEEDED = "succeeded"  # the workflow returned
    FAILED = "failed"  # the workflow raised
    CANCELLED = "cancelled"  # stopped by a person before its end


class StepState(StrEnum):
    """Where one recorded act of a run stands."""

    STARTED = "started"  # on record; it may be happening now
    WAITING = "waiting"  # for its due time or its next attempt
    HELD = "held"  # for a person's decision
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"  # not done: by the tool's own rules, by policy or by a person
    UNKNOWN = "unknown"  # sent, and nobody knows whether it happened
    CANCELLED = "cancelled"


RUN_ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
STEP_ENDED = frozenset({StepState.SUCCEEDED, StepState.FAILED, StepState.REFUSED, StepState.CANCELLED})


@dataclass(frozen=True)
class Look:
    """How a state is shown: `word` for readers, `shape` for greyscale print, `tone` names the colour."""

    word: str
    shape: str
    tone: str


LOOKS: dict[str, Look] = {
    "queued": Look("Queued", "ring", "quiet"),
    "running": Look("Running", "play", "busy"),
    "waiting": Look("Waiting", "pause", "wait"),
    "pausing": Look("Pausing", "pause", "quiet"),
    "paused": Look("Paused", "pause", "quiet"),
    "cancelling": Look("Cancelling", "cross", "quiet"),
    "needs_attention": Look("Needs attention", "triangle", "alarm"),
    "succeeded": Look("Succeeded", "tick", "good"),
    "failed": Look("Failed", "cross", "bad"),
    "cancelled": Look("Cancelled", "bar", "quiet"),
    "started": Look("Started", "play", "busy"),
    "held": Look("Held for a person", "pause", "wait"),
    "refused": Look("Refused", "bar", "bad"),
    "unknown": Look("Outcome unknown", "triangle", "alarm"),
    "pending": Look("Waiting for a decision", "pause", "wait"),
    "approved": Look("Approved", "tick", "good"),
    "rejected": Look("Rejected", "cross", "bad"),
    "expired": Look("Expired", "clock", "quiet"),
    "withdrawn": Look("Withdrawn", "bar", "quiet"),
    "superseded": Look("Superseded", "bar", "quiet"),
}


def look_of(state: str) -> Look:
    """The word, shape and tone of `state`; an unknown state is a programming error (KeyError)."""
    return LOOKS[state]
