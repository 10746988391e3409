"""The people, tokens and runs of these tests: one run for each thing that the API can show or change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.test import Client
from pydantic import BaseModel

from approvals.models import Approval
from ops.roles import ensure_roles
from runs import engine, gate, messages, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Artifact, Schedule, Step, Token
from runs.models import Run as RunRow
from runs.scopes import SCOPES
from runs.services.tokens import MAX_DAYS
from tests.runs.conftest import OpenGate
from tools import registry
from tools.contract import IdempotencyKey
from tools.failures import UnknownOutcome
from tools.models import ToolCall

SECRET = "card 4411-0007"
JSON = "application/json"
ROLES = {"ana": "reviewers", "ben": "reviewers", "omar": "operators", "ada": "auditors", "sam": ""}


class Case(BaseModel):
    """An input."""

    note: str = SECRET


@pytest.fixture(autouse=True)
def fresh_rates() -> Iterator[None]:
    """Nobody has asked anything yet."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def workflows(installed_tools: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small workflows: held, asking, waiting, asleep, broken, in doubt, and one that just ends."""
    monkeypatch.setattr(messages, "send", lambda run_id, queue, *more: True)
    built_in = {key: each for key, each in workflow._registry.items() if each.built_in}
    monkeypatch.setattr(workflow, "_registry", built_in)
    with registry.scratch():
        _declare()
        yield


def _declare() -> None:
    @registry.tool(effect="read")
    def look_up(note: str) -> str:
        return f"seen: {note}"

    @registry.tool(effect="irreversible", risk="low", timeout=1)
    def pay(note: str, *, key: IdempotencyKey) -> str:
        return f"paid: {note}"

    @registry.tool(effect="irreversible", risk="low", timeout=1)
    def wire(note: str, *, key: IdempotencyKey) -> str:
        raise UnknownOutcome("no answer within 30 s")

    @workflow.workflow("test.looks")
    def looks(run: Run, case: Case) -> str:
        run.artifact("letter", f"Dear {case.note}")
        return str(run.tool(look_up, case.note))

    @workflow.workflow("test.keeps")
    def keeps(run: Run, case: Case) -> None:
        for page in range(3):
            run.artifact("letter", f"Page {page} about {case.note}")

    @workflow.workflow("test.pays")
    def pays(run: Run, case: Case) -> str:
        return str(run.tool(pay, case.note))

    @workflow.workflow("test.wires")
    def wires(run: Run, case: Case) -> str:
        return str(run.tool(wire, case.note))

    @workflow.workflow("test.asks")
    def asks(run: Run, case: Case) -> str:
        return str(run.ask(f"What about {case.note}?", str))

    @workflow.workflow("test.waits")
    def waits(run: Run, case: Case) -> Any:
        return run.wait_for("parcel.returned")

    @workflow.workflow("test.sleeps")
    def sleeps(run: Run, case: Case) -> None:
        run.sleep(3600)

    @workflow.workflow("test.breaks")
    def breaks(run: Run, case: Case) -> None:
        raise ValueError("no closing balance")


@pytest.fixture
def people(transactional_db: None) -> dict[str, User]:
    """Ana and Ben review, Omar operates, Ada audits, Sam may nothing."""
    ensure_roles()
    found = {}
    for name, role in ROLES.items():
        found[name] = User.objects.create_user(name, password="x")
        if role:
            found[name].groups.add(Group.objects.get(name=role))
    return found


class Caller:
    """Asks the API, as a person with a session or with a token."""

    def __init__(self, user: User | None = None, secret: str = "", *, csrf: bool = False) -> None:
        self.client = Client(enforce_csrf_checks=csrf, raise_request_exception=False)
        if user is not None:
            self.client.force_login(user)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def get(self, path: str, **headers: str) -> Any:
        """The response."""
        return self.client.get(_full(path), headers=self.headers | _named(headers))

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """The response to `body` as JSON, or to the text as it is."""
        data = body if isinstance(body, str | bytes) else json.dumps({} if body is None else body)
        return self.client.post(_full(path), data, content_type=JSON, headers=self.headers | _named(headers))


def _full(path: str) -> str:
    return path if path.startswith("/api/") else f"/api/v1/{path}"


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def a_token(user: User, *scopes: str, days: int = MAX_DAYS) -> tuple[Token, str]:
    """A token with these scopes, or with all."""
    return services.issue_token(user, "ci", scopes or list(SCOPES), days=days, actor="user:ada")


@pytest.fixture
def ana(people: dict[str, User]) -> Caller:
    return Caller(people["ana"])


@pytest.fixture
def ben(people: dict[str, User]) -> Caller:
    return Caller(people["ben"])


@pytest.fixture
def omar(people: dict[str, User]) -> Caller:
    return Caller(people["omar"])


@pytest.fixture
def ada(people: dict[str, User]) -> Caller:
    return Caller(people["ada"])


@pytest.fixture
def machine(people: dict[str, User]) -> Caller:
    """A token of Omar's with every scope."""
    return Caller(secret=a_token(people["omar"])[1])


def a_run(name: str = "test.looks", *, actor: str = "user:omar", advance: bool = True, **more: Any) -> RunRow:
    """A run, as far as it goes."""
    case = more.pop("case", {})
    run = services.start_run(name, case, actor=actor, **more)
    if advance:
        engine.advance(run.id, "wrk_test")
    run.refresh_from_db()
    return run


@dataclass
class World:
    """One of everything."""

    runs: dict[str, RunRow] = field(default_factory=dict)

    @property
    def approval(self) -> Approval:
        return Approval.objects.get(run=self.runs["test.pays"])

    @property
    def question(self) -> Step:
        return Step.objects.get(run=self.runs["test.asks"], kind="question")

    @property
    def artifact(self) -> Artifact:
        return Artifact.objects.get(run=self.runs["test.looks"])

    @property
    def call(self) -> ToolCall:
        return ToolCall.objects.get(run_id=self.runs["test.wires"].pk)


@pytest.fixture
def world(people: dict[str, User], monkeypatch: pytest.MonkeyPatch) -> World:
    """A run of each workflow, as far as it goes, and a schedule."""
    made = World(
        {each.name: a_run(each.name) for each in workflow.all_workflows() if each.name != "test.wires"}
    )
    with monkeypatch.context() as patched:
        patched.setattr(gate, "_installed", OpenGate())
        made.runs["test.wires"] = a_run("test.wires", actor="user:ada")
    Schedule.objects.create(
        name="nightly", workflow="test.looks", every_seconds=60, owner="user:omar", next_at=db_now()
    )
    return made
