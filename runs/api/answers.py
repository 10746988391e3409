"""What callers get: runs and what belongs to them, as JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from django.db.models import Model
from django.urls import reverse
from pydantic import BaseModel, Field

from runs.models import Artifact, JournalEntry, Message, Run, Schedule, Step
from runs.states import look_of
from tools.doubts import InDoubt, about
from tools.models import Settlement, ToolCall

#: How the description of a field begins that is left out for everybody else.
TECHNICAL = "Only for callers who may see technical details"


class FromRow(BaseModel):
    """What is told of a row: each field is the row's own of that name, where nothing else is given."""

    @classmethod
    def read(cls, row: Model, *, technical: bool = False, **given: Any) -> Self:
        """`row` as JSON; what the schema calls technical is read only where `technical`."""
        told = {
            name
            for name, field in cls.model_fields.items()
            if technical or not (field.description or "").startswith(TECHNICAL)
        }
        return cls(**given, **{name: getattr(row, name) for name in told - given.keys()})


class Attention(BaseModel):
    """Why a run needs a person."""

    code: str
    sentence: str


class RunOut(FromRow):
    """One run."""

    id: str
    url: str = Field(description="Its own address.")
    page: str = Field(description="The address of its page, for people.")
    workflow: str
    version: int
    state: str
    state_word: str = Field(description="The state as people read it.")
    intent: str = Field(description="What it is for.")
    requester: str = Field(description="The actor who asked for it, such as user:ana.")
    source: str = Field(description="The door it came through.")
    key: str = Field(description="The business key it was started with.")
    priority: int
    queue: str
    deadline: datetime | None
    waiting_for: str = Field(description="What it waits for, in words.")
    attention: Attention | None = Field(description="Why it cannot go on by itself.")
    stop_reason: str = Field(description="Why somebody paused or cancelled it.")
    parent: str = Field(description="The run that started it, if one did.")
    forked_from: str
    continued_from: str
    continued_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    head_seq: int = Field(description="The number of the last entry of its journal.")
    input: Any = Field(default=None, description=f"{TECHNICAL}.")
    output: Any = Field(default=None, description=f"{TECHNICAL}.")

    @classmethod
    def of(cls, run: Run, *, technical: bool = False) -> RunOut:
        """`run`, with input and output where `technical`."""
        why = run.attention
        return cls.read(
            run,
            technical=technical,
            url=reverse("api:run", args=[run.pk]),
            page=reverse("runs:run", args=[run.pk]),
            state_word=look_of(run.state).word,
            attention=Attention(code=why.get("code", ""), sentence=why.get("sentence", "")) if why else None,
            parent=run.parent_id,
        )


class StepOut(FromRow):
    """One recorded act of a run."""

    id: str
    run: str
    path: str = Field(description="Its place in the run; with a ~ it belongs to an earlier try.")
    kind: str
    name: str
    state: str
    state_word: str
    attempt: int
    effect: str
    model: str
    input_tokens: int
    output_tokens: int
    cost: Decimal | None = Field(description="US dollars.")
    due_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    arguments: Any = Field(default=None, description=f"{TECHNICAL}.")
    result: Any = Field(default=None, description=f"{TECHNICAL}. In lists, null where it is large.")
    error: Any = Field(default=None, description=f"{TECHNICAL}.")

    @classmethod
    def of(cls, step: Step, *, technical: bool) -> StepOut:
        """`step`, with its contents where `technical`."""
        return cls.read(step, technical=technical, run=step.run_id, state_word=look_of(step.state).word)


class EntryOut(FromRow):
    """One entry of a journal."""

    run: str
    seq: int
    at: datetime
    actor: str
    kind: str
    sentence: str
    step: str
    digest: str = Field(description="SHA-256 of its content, in hex.")
    content: Any = Field(default=None, description=f"{TECHNICAL}.")

    @classmethod
    def of(cls, entry: JournalEntry, *, technical: bool) -> EntryOut:
        """`entry`, with its content where `technical`."""
        return cls.read(
            entry, technical=technical, run=entry.run_id, step=entry.step_id, digest=bytes(entry.digest).hex()
        )


class ArtifactOut(FromRow):
    """One version of a named output of a run."""

    id: str
    run: str
    url: str = Field(description="The address of its content.")
    name: str
    version: int
    title: str
    media_type: str
    digest: str = Field(description="SHA-256 of its content, in hex.")
    size: int = Field(description="Bytes.")
    step: str
    created_at: datetime

    @classmethod
    def of(cls, artifact: Artifact) -> ArtifactOut:
        """`artifact`, without its content."""
        url = reverse("api:artifact", args=[artifact.run_id, artifact.pk])
        return cls.read(artifact, run=artifact.run_id, step=artifact.step_id, url=url)


class MessageOut(FromRow):
    """A message that a run has, or will take when it waits for it."""

    id: str
    run: str
    name: str
    sender: str
    key: str
    sent_at: datetime
    taken_by: str = Field(description="The step that took it; empty: none yet.")

    @classmethod
    def of(cls, message: Message) -> MessageOut:
        """`message`, without what it says."""
        return cls.read(message, run=message.run_id)


class SaidOut(FromRow):
    """What one person said about a call in doubt."""

    id: str
    by: str
    at: datetime
    outcome: str
    reference: str
    note: str

    @classmethod
    def of(cls, said: Settlement) -> SaidOut:
        """One row of it."""
        return cls.read(said)


class CallOut(FromRow):
    """One attempt of one tool."""

    id: str
    run: str
    step: str
    tool: str
    version: int
    effect: str
    state: str
    attempt: int
    key: str = Field(description="Its idempotency key: by it the other side can be asked.")
    not_before: datetime | None = Field(description="Nobody may settle it before this moment.")
    started_at: datetime
    finished_at: datetime | None
    settled_by: str
    note: str
    error: str = Field(default="", description=f"{TECHNICAL}.")
    at_risk: str = Field(default="", description="The amount and its currency, as the tool's facts have it.")
    lookup: str = Field(default="", description="What the tool's lookup said last.")
    said: list[SaidOut] = Field(default=[], description="What people said about it, the oldest first.")
    last_said: str = Field(default="", description="The id of what was said last; see `seen`.")

    @classmethod
    def of(cls, call: ToolCall, *, technical: bool) -> CallOut:
        """`call`, with its error where `technical`."""
        (found,) = about([call])
        return cls.of_doubt(found, technical=technical)

    @classmethod
    def of_doubt(cls, found: InDoubt, *, technical: bool) -> CallOut:
        """The call with all that is known about it, with its error where `technical`."""
        call, standing = found.call, found.standing
        return cls.read(
            call,
            technical=technical,
            run=call.run_id,
            step=call.step_id,
            at_risk=str(found.stake),
            lookup=found.inquiry.said if found.inquiry else "",
            said=[SaidOut.of(one) for one in standing.said],
            last_said=standing.last,
        )


class WorkflowOut(BaseModel):
    """One version of a workflow."""

    name: str
    version: int
    state: str = Field(
        description="Whether it may start runs: `active`; and if not, why: `deployed`, `retired`."
    )
    description: str
    owner: str
    unit: str = Field(description="What one run of it does.")
    activated_by: str
    input_schema: dict[str, Any] = Field(description="The JSON Schema of its input.")


class ScheduleOut(FromRow):
    """Runs that start by the clock."""

    id: int
    name: str
    workflow: str
    intent: str
    enabled: bool
    owner: str
    every_seconds: int | None
    crontab: str
    next_at: datetime | None
    last_at: datetime | None
    last_run: str
    problem: str = Field(description="Why its last moment started nothing.")

    @classmethod
    def of(cls, schedule: Schedule) -> ScheduleOut:
        """`schedule`, without its input."""
        return cls.read(schedule, crontab=str(schedule.crontab) if schedule.crontab else "")
