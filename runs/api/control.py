"""What people and systems do with runs that are there; every act is kept with its actor and its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import reverse
from pydantic import BaseModel, Field
from rest_framework.request import Request
from rest_framework.response import Response

from runs import services
from runs.api.answers import RunOut
from runs.api.bodies import Bulk, Fork, Grant, Replay, Retry, Why, read_body
from runs.api.callers import Need, actor_of, sees_technical
from runs.api.door import Door, answer, operation
from runs.api.kept import once, once_each
from runs.models import Run
from runs.replays.replay import replay_run
from runs.scopes import RUNS_CONTROL

CONTROL = Need("runs.control_run", RUNS_CONTROL)


def _act(
    verb: Callable[..., Run], request: Request, run_id: str, takes: type[Why], status: int = 200
) -> Response:
    """Have `verb` act on the run, with what the body says by the names of the verb's parameters."""
    body, actor = read_body(request, takes), actor_of(request)

    def act() -> Response:
        run = verb(run_id, actor=actor, **body.model_dump())
        where = reverse("api:run", args=[run.pk]) if status == 201 else ""
        return answer(RunOut.of(run), status, location=where)

    return once(request, act)


class Pause(Door):
    """Pausing a run."""

    needs = {"POST": CONTROL}

    @operation(
        "pause_run", "Pause a run", RunOut, takes=Why, refuses=[404], example={"reason": "Prices are wrong"}
    )
    def post(self, request: Request, run_id: str) -> Response:
        """It stops after the act in hand, which is not broken off, and stands still until it is resumed."""
        return _act(services.pause_run, request, run_id, Why)


class Resume(Door):
    """Resuming a run."""

    needs = {"POST": CONTROL}

    @operation(
        "resume_run", "Resume a run", RunOut, takes=Why, refuses=[404], example={"reason": "Prices are right"}
    )
    def post(self, request: Request, run_id: str) -> Response:
        """A run that is paused or needs attention goes on from where it stopped."""
        return _act(services.resume_run, request, run_id, Why)


class Cancel(Door):
    """Cancelling a run."""

    needs = {"POST": CONTROL}

    @operation(
        "cancel_run", "Cancel a run", RunOut, takes=Why, refuses=[404], example={"reason": "Ordered twice"}
    )
    def post(self, request: Request, run_id: str) -> Response:
        """It stops after the act in hand, cleans up and ends. What it has done outside stays done."""
        return _act(services.cancel_run, request, run_id, Why)


class RetryRun(Door):
    """Trying a run again."""

    needs = {"POST": CONTROL}

    @operation(
        "retry_run", "Retry a run", RunOut, takes=Retry, refuses=[404], example={"reason": "The bank is back"}
    )
    def post(self, request: Request, run_id: str) -> Response:
        """From the failed step, or from the earlier step `from_path`."""
        return _act(services.retry_run, request, run_id, Retry)


class ForkRun(Door):
    """A new run from an old one."""

    needs = {"POST": CONTROL}

    @operation(
        "fork_run",
        "Fork a run",
        RunOut,
        status=201,
        takes=Fork,
        refuses=[404],
        example={"reason": "Try the new prompt", "at_path": "4"},
    )
    def post(self, request: Request, run_id: str) -> Response:
        """A new run that has all before `at_path` on record and goes on from there; the old one stays."""
        return _act(services.fork_run, request, run_id, Fork, 201)


class GrantBudget(Door):
    """More of a budget."""

    needs = {"POST": Need("runs.grant_budget")}

    @operation(
        "grant_budget",
        "Grant a run more",
        RunOut,
        takes=Grant,
        refuses=[404],
        example={"reason": "A long case", "amounts": {"model_requests": 10}},
    )
    def post(self, request: Request, run_id: str) -> Response:
        """More of what its budget limits, on the word of the person who is signed in: no token can. A run
        that stopped for its budget goes on.
        """
        return _act(services.grant, request, run_id, Grant)


class OneOfMany(BaseModel):
    """What happens, or happened, to one of the runs."""

    run: str
    possible: bool = Field(description="Whether it can be done, or was done.")
    sentence: str
    obstacle: str = Field(description="What is in the way, for machines; empty: nothing.")
    state: str


class ForecastOut(BaseModel):
    """What a verb does, or did, to many runs."""

    verb: str
    done: bool = Field(description="False: this was a look ahead, and nothing was done.")
    chosen: int
    possible: int
    obstacles: dict[str, int]
    sentence: str = Field(description="Such as: 18 chosen, 15 can be retried, 3 hold an irreversible effect.")
    runs: list[OneOfMany]


class ManyRuns(Door):
    """One verb on many runs."""

    needs = {"POST": CONTROL}

    @operation(
        "control_runs",
        "Control many runs",
        ForecastOut,
        takes=Bulk,
        example={"verb": "retry", "runs": ["run_01"], "reason": "The bank is back", "dry_run": True},
    )
    def post(self, request: Request) -> Response:
        """First with `dry_run` (which is what happens if nothing is said): what would happen to each. Then
        without: each is done in a transaction of its own, and those that cannot be are left as they are.
        """
        body, actor = read_body(request, Bulk), actor_of(request)
        if body.dry_run:
            return _told(services.foresee(body.verb, body.runs))

        def act() -> Response:
            return _told(services.in_bulk(body.verb, body.runs, actor=actor, reason=body.reason))

        return once_each(request, act)


def _told(forecast: services.Forecast) -> Response:
    return answer(ForecastOut.model_validate(forecast.as_json))


class SideOut(BaseModel):
    """What stands on one side where record and code part."""

    what: str
    arguments: Any = Field(default=None, description="Only for callers who may see technical details.")


class DivergenceOut(BaseModel):
    """The first place where record and code part."""

    path: str
    recorded: SideOut
    asked: SideOut


class ReportOut(BaseModel):
    """What a replay found."""

    run: str
    workflow: str
    version: int
    state: str
    verdict: str = Field(description="matches, diverged, missing_code or unreadable.")
    steps: int = Field(description="How many steps were compared.")
    sentence: str
    goes_on: str
    divergence: DivergenceOut | None


class ReplayRun(Door):
    """A replay without effects."""

    needs = {"POST": CONTROL}

    @operation(
        "replay_run", "Replay a run", ReportOut, takes=Replay, refuses=[404, 409], keyed=False, example={}
    )
    def post(self, request: Request, run_id: str) -> Response:
        """Runs the workflow's code against the record. Nothing is done and nothing is written."""
        body = read_body(request, Replay)
        services.found_run(run_id)
        report = replay_run(run_id, body.version).as_json()
        if report["divergence"] and not sees_technical(request):
            for side in ("recorded", "asked"):
                report["divergence"][side] = {"what": report["divergence"][side]["what"]}
        return answer(ReportOut.model_validate(report))
