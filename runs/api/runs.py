"""Runs over HTTP: start, list, show, and what belongs to one."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actors, services
from runs.api.answers import ArtifactOut, EntryOut, MessageOut, RunOut, StepOut
from runs.api.bodies import After, Page, Reply, RunsWanted, Send, Start, read_body, read_query
from runs.api.callers import Need, actor_of, door_of, person_of, sees_technical
from runs.api.door import Door, answer, operation
from runs.api.kept import once
from runs.api.pages import Listed, keyset, next_page
from runs.api.problems import Refused
from runs.clock import db_now
from runs.models import Artifact, Run, Step
from runs.scopes import MESSAGES_SEND, RUNS_READ, RUNS_START, TECHNICAL_READ
from runs.services import found_run
from runs.values import ContentLost, read_bytes, result_of

SEE = Need("runs.view_run", RUNS_READ)


class Runs(Door):
    """All runs."""

    needs = {"GET": SEE, "POST": Need("runs.start_run", RUNS_START)}

    @operation("list_runs", "List runs", Listed[RunOut], query=RunsWanted)
    def get(self, request: Request) -> Response:
        """The runs that fit, newest first, without inputs and outputs: those are with each run."""
        wanted = read_query(request, RunsWanted)
        rows = Run.objects.defer("input", "output")
        equal = {"state": wanted.state, "workflow": wanted.workflow, "key": wanted.key}
        rows = rows.filter(**{name: value for name, value in equal.items() if value})
        if wanted.requester:
            names = [wanted.requester, actors.user(wanted.requester)]
            rows = rows.filter(requester__in=names)
        shown, cursor = keyset(
            rows, ("created_at", "id"), cursor=wanted.cursor, limit=wanted.limit, descending=True
        )
        items = [RunOut.of(run) for run in shown]
        return answer(Listed[RunOut](items=items, next=next_page(request, cursor=cursor)))

    @operation(
        "start_run",
        "Start a run",
        RunOut,
        status=201,
        also=[200],
        takes=Start,
        refuses=[404],
        example={
            "workflow": "invoices.pay",
            "input": {"number": "17"},
            "intent": "Pay invoice 17, which has arrived",
            "key": "invoice-17",
        },
    )
    def post(self, request: Request) -> Response:
        """Starts a run in the name of the caller. Answers 200 instead of 201 when a run with that `key` was
        there and is given back.
        """
        body = read_body(request, Start)
        return once(request, lambda: self._start(request, body))

    def _start(self, request: Request, body: Start) -> Response:
        before = db_now() if body.key else None
        run = services.start_run(
            body.workflow,
            body.input,
            actor=actor_of(request),
            intent=body.intent,
            source=door_of(request),
            version=body.version,
            key=body.key,
            on_duplicate=body.on_duplicate,
            priority=body.priority,
            start_at=body.start_at,
            deadline=body.deadline,
        )
        there = before is not None and run.created_at < before
        where = reverse("api:run", args=[run.pk])
        return answer(RunOut.of(run), 200 if there else 201, location="" if there else where)


class OneRun(Door):
    """One run."""

    needs = {"GET": SEE}

    @operation("show_run", "Show a run", RunOut, refuses=[404])
    def get(self, request: Request, run_id: str) -> Response:
        """The run as it stands."""
        return answer(RunOut.of(found_run(run_id), technical=sees_technical(request)))


class Steps(Door):
    """The steps of a run."""

    needs = {"GET": Need("runs.view_step", RUNS_READ)}

    @operation("list_steps", "List the steps of a run", Listed[StepOut], query=Page, refuses=[404])
    def get(self, request: Request, run_id: str) -> Response:
        """What the run has done and is doing, in the order in which it was begun."""
        wanted, run, technical = read_query(request, Page), found_run(run_id), sees_technical(request)
        shown, cursor = keyset(
            run.steps.all(), ("position", "id"), cursor=wanted.cursor, limit=wanted.limit, descending=False
        )
        items = [StepOut.of(step, technical=technical) for step in shown]
        return answer(Listed[StepOut](items=items, next=next_page(request, cursor=cursor)))


class OneStep(Door):
    """One step of a run."""

    needs = {"GET": Need("runs.view_step", RUNS_READ)}

    @operation("show_step", "Show a step", StepOut, refuses=[404])
    def get(self, request: Request, run_id: str, step_id: str) -> Response:
        """The step, if it is one of this run."""
        step, technical = found_step(run_id, step_id), sees_technical(request)
        shown = StepOut.of(step, technical=technical)
        if technical and step.blob:
            shown.result = _large_result(step)
        return answer(shown)


def _large_result(step: Step) -> Any:
    """The result that is kept beside its row; null once its time is over."""
    try:
        return result_of(step)
    except ContentLost:
        return None


def found_step(run_id: str, step_id: str) -> Step:
    """The step of that run. Raises Refused (404), for a step of another run too."""
    step = Step.objects.filter(pk=step_id, run_id=run_id).first()
    if step is None:
        raise Refused(
            404, "not_found", f"Run {run_id} has no step {step_id}; list its steps to see those it has."
        )
    return step


class Answers(Door):
    """The answer to a question of a run."""

    needs = {"POST": Need("runs.answer_question")}

    @operation(
        "answer_question",
        "Answer a question of a run",
        StepOut,
        takes=Reply,
        refuses=[404],
        example={"value": "The blue one"},
    )
    def post(self, request: Request, run_id: str, step_id: str) -> Response:
        """Answers for the person who is signed in: no token can. The run goes on with the answer."""
        body = read_body(request, Reply)
        found_step(run_id, step_id)
        return once(request, lambda: self._reply(request, step_id, body))

    def _reply(self, request: Request, step_id: str, body: Reply) -> Response:
        return answer(
            StepOut.of(services.answer_question(step_id, body.value, by=person_of(request)), technical=False)
        )


class Journal(Door):
    """The journal of a run."""

    needs = {"GET": Need("runs.view_journalentry", RUNS_READ)}

    @operation("list_entries", "Read the journal of a run", Listed[EntryOut], query=After, refuses=[404])
    def get(self, request: Request, run_id: str) -> Response:
        """Its entries in their order, without gaps. `next` is null where the journal ends for now."""
        wanted, run, technical = read_query(request, After), found_run(run_id), sees_technical(request)
        rows = list(run.journal.filter(seq__gt=wanted.after).order_by("seq")[: wanted.limit + 1])
        items = [EntryOut.of(entry, technical=technical) for entry in rows[: wanted.limit]]
        after = items[-1].seq if len(rows) > wanted.limit else 0
        return answer(Listed[EntryOut](items=items, next=next_page(request, after=after)))


class Messages(Door):
    """Messages to a run."""

    needs = {"POST": Need("runs.send_message", MESSAGES_SEND)}

    @operation(
        "send_message",
        "Send a message to a run",
        MessageOut,
        status=201,
        takes=Send,
        refuses=[404],
        example={"name": "parcel.returned", "payload": {"order": "A1"}, "key": "carrier-77"},
        tag="messages",
    )
    def post(self, request: Request, run_id: str) -> Response:
        """Kept for the run until it asks for it, also when it does not wait for it yet."""
        body = read_body(request, Send)
        return once(request, lambda: self._send(request, run_id, body))

    def _send(self, request: Request, run_id: str, body: Send) -> Response:
        sent = services.send_message(run_id, body.name, body.payload, actor=actor_of(request), key=body.key)
        return answer(MessageOut.of(sent), 201)


class Artifacts(Door):
    """What a run has produced."""

    needs = {"GET": Need("runs.view_artifact", RUNS_READ)}

    @operation(
        "list_artifacts", "List the artifacts of a run", Listed[ArtifactOut], query=Page, refuses=[404]
    )
    def get(self, request: Request, run_id: str) -> Response:
        """Every version of every named output, oldest first, without contents."""
        wanted, run = read_query(request, Page), found_run(run_id)
        rows = run.artifacts.all()
        shown, cursor = keyset(
            rows, ("created_at", "id"), cursor=wanted.cursor, limit=wanted.limit, descending=False
        )
        items = [ArtifactOut.of(artifact) for artifact in shown]
        return answer(Listed[ArtifactOut](items=items, next=next_page(request, cursor=cursor)))


class ArtifactContent(Door):
    """The content of an artifact."""

    needs = {"GET": Need("runs.view_artifact_content", TECHNICAL_READ)}

    @operation(
        "open_artifact",
        "Download the content of an artifact",
        {(200, "application/octet-stream"): bytes},
        refuses=[404],
    )
    def get(self, request: Request, run_id: str, artifact_id: str) -> HttpResponse:
        """The bytes as they were stored; Digest names their SHA-256. Gone (404) once their time is over."""
        artifact = Artifact.objects.filter(pk=artifact_id, run_id=run_id).first()
        if artifact is None:
            raise Refused(404, "not_found", f"Run {run_id} has no artifact {artifact_id}.")
        try:
            content = read_bytes(artifact.digest)
        except ContentLost as error:
            raise Refused(404, "not_found", str(error)) from None
        # Never shown in place: a stored page must not run as one of ours.
        headers: dict[str, Any] = {
            "Content-Disposition": f'attachment; filename="{artifact.pk}"',
            "Artifact-Media-Type": artifact.media_type,
            "ETag": f'"{artifact.digest}"',
        }
        return HttpResponse(content, content_type="application/octet-stream", headers=headers)
