"""What can be started, and what starts by the clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from rest_framework.request import Request
from rest_framework.response import Response

from runs import questions, services, workflow
from runs.api.answers import ScheduleOut, WorkflowOut
from runs.api.bodies import Page, Why, read_body, read_query
from runs.api.callers import Need, actor_of
from runs.api.door import Door, answer, operation
from runs.api.kept import once
from runs.api.pages import Listed, keyset, next_page
from runs.models import Schedule, Step, WorkflowVersion
from runs.scopes import RUNS_READ


class Workflows(Door):
    """Workflows."""

    needs = {"GET": Need("runs.view_run", RUNS_READ)}

    @operation("list_workflows", "List workflows", Listed[WorkflowOut], tag="workflows")
    def get(self, request: Request) -> Response:
        """Every version whose code is there, with the JSON Schema of its input. There is one page."""
        rows = {(row.name, row.version): row for row in WorkflowVersion.objects.all()}
        items = [_shown(each, rows.get((each.name, each.version))) for each in workflow.all_workflows()]
        return answer(Listed[WorkflowOut](items=items, next=None))


def _shown(known: workflow.Workflow, row: WorkflowVersion | None) -> WorkflowOut:
    return WorkflowOut(
        name=known.name,
        version=known.version,
        state=row.state if row else "deployed",
        description=known.description,
        owner=known.owner,
        unit=known.unit,
        activated_by=row.activated_by if row else "",
        input_schema=known.input_schema,
    )


class Activation(Door):
    """A version that may start runs from now on."""

    needs = {"POST": Need("runs.activate_workflow")}

    @operation(
        "activate_version",
        "Activate a version of a workflow",
        WorkflowOut,
        takes=Why,
        refuses=[404],
        example={"reason": "Tried on the golden histories"},
        tag="workflows",
    )
    def post(self, request: Request, name: str, version: int) -> Response:
        """On the word of the person who is signed in: no token can."""
        body, actor = read_body(request, Why), actor_of(request)

        def act() -> Response:
            row = services.activate_version(name, version, actor=actor, reason=body.reason)
            return answer(_shown(workflow.get(name, version), row))

        return once(request, act)


class Retirement(Door):
    """A version that starts no more runs."""

    needs = {"POST": Need("runs.activate_workflow")}

    @operation(
        "retire_version",
        "Retire a version of a workflow",
        WorkflowOut,
        takes=Why,
        refuses=[404],
        example={"reason": "Version 2 has taken over"},
        tag="workflows",
    )
    def post(self, request: Request, name: str, version: int) -> Response:
        """Its runs go on. On the word of the person who is signed in: no token can."""
        body, actor = read_body(request, Why), actor_of(request)
        known = workflow.get(name, version)

        def act() -> Response:
            row = services.retire_version(name, version, actor=actor, reason=body.reason)
            return answer(_shown(known, row))

        return once(request, act)


class Schedules(Door):
    """Schedules."""

    needs = {"GET": Need("runs.view_schedule", RUNS_READ)}

    @operation("list_schedules", "List schedules", Listed[ScheduleOut], query=Page, tag="workflows")
    def get(self, request: Request) -> Response:
        """What starts by the clock. Operators edit it in the admin."""
        wanted = read_query(request, Page)
        rows = Schedule.objects.select_related("crontab")
        shown, cursor = keyset(rows, ("id",), cursor=wanted.cursor, limit=wanted.limit, descending=False)
        items = [ScheduleOut.of(schedule) for schedule in shown]
        return answer(Listed[ScheduleOut](items=items, next=next_page(request, cursor=cursor)))


class QuestionOut(BaseModel):
    """A question that a run asks a person."""

    step: str
    run: str
    question: str
    to: str = Field(
        description="user: and a username, the name of a group, or empty: anybody who may answer."
    )
    answer_schema: dict[str, Any] = Field(description="The JSON Schema of the answer.")
    asked_at: datetime
    until: datetime | None

    @classmethod
    def of(cls, step: Step) -> QuestionOut:
        """The question that `step` holds."""
        asked = step.arguments or {}
        return cls(
            step=step.pk,
            run=step.run_id,
            question=str(asked.get("question", "")),
            to=str(asked.get("to") or ""),
            answer_schema=asked.get("schema") or {},
            asked_at=step.started_at,
            until=step.due_at,
        )


class Questions(Door):
    """Questions to the person who is signed in."""

    needs = {"GET": Need(questions.ANSWER)}

    @operation("list_questions", "List questions to you", Listed[QuestionOut], query=Page, tag="runs")
    def get(self, request: Request) -> Response:
        """The open questions that you may answer, oldest first. No token can see them."""
        wanted = read_query(request, Page)
        rows = questions.questions_for(request.user)
        shown, cursor = keyset(
            rows, ("started_at", "id"), cursor=wanted.cursor, limit=wanted.limit, descending=False
        )
        items = [QuestionOut.of(step) for step in shown]
        return answer(Listed[QuestionOut](items=items, next=next_page(request, cursor=cursor)))
