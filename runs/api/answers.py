"""What callers get: runs and what belongs to them, as JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.urls import reverse
from pydantic import BaseModel, Field

from runs.models import Artifact, JournalEntry, Message, Run, Schedule, Step
from runs.states import look_of
from tools.models import ToolCall

TECHNICAL = "Only for callers who may see technical details."


class Attention(BaseModel):
    """Why a run needs a person."""

    code: str
    sentence: str


class RunOut(BaseModel):
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
    input: Any = Field(default=None, description=TECHNICAL)
    output: Any = Field(default=None, description=TECHNICAL)

    @classmethod
    def of(cls, run: Run, *, technical: bool = False) -> RunOut:
        """`run`, with input and output where `technical`."""
        why = run.attention
        shown = cls(
            id=run.pk,
            url=reverse("api:run", args=[run.pk]),
            page=reverse("runs:run", args=[run.pk]),
            workflow=run.workflow,
            version=run.version,
            state=run.state,
            state_word=look_of(run.state).word,
            intent=run.intent,
            requester=run.requester,
            source=run.source,
            key=run.key,
            priority=run.priority,
            queue=run.queue,
            deadline=run.deadline,
            waiting_for=run.waiting_for,
            attention=Attention(code=why.get("code", ""), sentence=why.get("sentence", "")) if why else None,
            stop_reason=run.stop_reason,
            parent=run.parent_id,
            forked_from=run.forked_from,
            continued_from=run.continued_from,
            continued_by=run.continued_by,
            created_at=run.created_at,
            started_at=run.started_at,
            finished_at=run.finished_at,
            head_seq=run.head_seq,
        )
        if technical:
            shown.input, shown.output = run.input, run.output
        return shown


class StepOut(BaseModel):
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
    arguments: Any = Field(default=None, description=TECHNICAL)
    result: Any = Field(default=None, description=f"{TECHNICAL} In lists, null where it is large.")
    error: Any = Field(default=None, description=TECHNICAL)

    @classmethod
    def of(cls, step: Step, *, technical: bool) -> StepOut:
        """`step`, with its contents where `technical`."""
        shown = cls(
            id=step.pk,
            run=step.run_id,
            path=step.path,
            kind=step.kind,
            name=step.name,
            state=step.state,
            state_word=look_of(step.state).word,
            attempt=step.attempt,
            effect=step.effect,
            model=step.model,
            input_tokens=step.input_tokens,
            output_tokens=step.output_tokens,
            cost=step.cost,
            due_at=step.due_at,
            started_at=step.started_at,
            finished_at=step.finished_at,
        )
        if technical:
            shown.arguments, shown.result, shown.error = step.arguments, step.result, step.error
        return shown


class EntryOut(BaseModel):
    """One entry of a journal."""

    run: str
    seq: int
    at: datetime
    actor: str
    kind: str
    sentence: str
    step: str
    digest: str = Field(description="SHA-256 of its content, in hex.")
    content: Any = Field(default=None, description=TECHNICAL)

    @classmethod
    def of(cls, entry: JournalEntry, *, technical: bool) -> EntryOut:
        """`entry`, with its content where `technical`."""
        shown = cls(
            run=entry.run_id,
            seq=entry.seq,
            at=entry.at,
            actor=entry.actor,
            kind=entry.kind,
            sentence=entry.sentence,
            step=entry.step_id,
            digest=bytes(entry.digest).hex(),
        )
        if technical:
            shown.content = entry.content
        return shown


class ArtifactOut(BaseModel):
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
        return cls(
            id=artifact.pk,
            run=artifact.run_id,
            url=reverse("api:artifact", args=[artifact.run_id, artifact.pk]),
            name=artifact.name,
            version=artifact.version,
            title=artifact.title,
            media_type=artifact.media_type,
            digest=artifact.digest,
            size=artifact.size,
            step=artifact.step_id,
            created_at=artifact.created_at,
        )


class MessageOut(BaseModel):
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
        return cls(
            id=message.pk,
            run=message.run_id,
            name=message.name,
            sender=message.sender,
            key=message.key,
            sent_at=message.sent_at,
            taken_by=message.taken_by,
        )


class CallOut(BaseModel):
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
    error: str = Field(default="", description=TECHNICAL)

    @classmethod
    def of(cls, call: ToolCall, *, technical: bool) -> CallOut:
        """`call`, with its error where `technical`."""
        shown = cls(
            id=call.pk,
            run=call.run_id,
            step=call.step_id,
            tool=call.tool,
            version=call.version,
            effect=call.effect,
            state=call.state,
            attempt=call.attempt,
            key=call.key,
            not_before=call.not_before,
            started_at=call.started_at,
            finished_at=call.finished_at,
            settled_by=call.settled_by,
            note=call.note,
        )
        if technical:
            shown.error = call.error
        return shown


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


class ScheduleOut(BaseModel):
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
        return cls(
            id=schedule.pk,
            name=schedule.name,
            workflow=schedule.workflow,
            intent=schedule.intent,
            enabled=schedule.enabled,
            owner=schedule.owner,
            every_seconds=schedule.every_seconds,
            crontab=str(schedule.crontab) if schedule.crontab else "",
            next_at=schedule.next_at,
            last_at=schedule.last_at,
            last_run=schedule.last_run,
            problem=schedule.problem,
        )
