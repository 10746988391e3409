"""The schema tells the truth: schemathesis asks what it allows and what it forbids, as everybody.

Each round is bounded and deterministic. Judged are: no failure of ours (5xx), answers as declared (status,
content type, schema), and no change of any row by a request that was refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import schemathesis
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test import Client, override_settings
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from runs.api import problems, stream
from runs.models import KeptAnswer, Run, Token
from tests.api.conftest import World, a_token
from tests.api.test_doors import EACH

pytestmark = pytest.mark.django_db(transaction=True)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = int(os.environ.get("API_EXAMPLES", "4"))  # for each operation, and for right and wrong data
#: Who asks, and what they must at least come to see: a round that never gets through the door tests nothing.
REACHED = {
    "ana": {200, 400, 403, 404, 422},
    "omar": {200, 201, 400, 403, 404, 422},
    "ada": {200, 400, 403, 404},
    "sam": {403, 404},
    "nobody": {401, 404},
    "machine": {200, 201, 400, 403, 404, 422},
}


def schema() -> dict[str, Any]:
    """The schema as it is served."""
    made: dict[str, Any] = json.loads(json.dumps(SchemaGenerator().get_schema(public=True)))
    return made


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


class TestSchema:
    def test_it_is_served(self, omar: Any) -> None:
        served = omar.get("schema")
        assert served.status_code == 200
        assert served.json()["openapi"].startswith("3.1")

    def test_it_is_made_without_warnings(self, capsys: pytest.CaptureFixture[str]) -> None:
        GENERATOR_STATS.reset()
        call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO())
        assert "Warning" not in capsys.readouterr().err

    def test_every_operation_is_described(self) -> None:
        document = schema()
        names = [operation["operationId"] for *_, operation in operations(document)]
        assert len(names) == len(set(names)) == len(EACH) - 2  # but the schema and its page
        for path, method, operation in operations(document):
            where = f"{method} {path}"
            assert operation["summary"], where
            assert len(operation["description"]) > 40, where
            assert operation["security"], where
            assert {"401", "403", "429"} <= set(operation["responses"]), where
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == [problems.CONTENT_TYPE], f"{where} {status}"
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["examples"], where
            if "{" in path:
                assert "404" in operation["responses"], where

    def test_what_takes_a_person_says_so(self) -> None:
        persons = {
            operation["operationId"]
            for *_, operation in operations(schema())
            if operation["security"] == [{"session": []}]
        }
        assert persons == {
            "decide",
            "answer_question",
            "settle_call",
            "activate_version",
            "retire_version",
            "grant_budget",
            "list_questions",
        }


class TestPage:
    def test_its_page_needs_nothing_that_the_policy_forbids(self, omar: Any) -> None:
        response = omar.get("docs")
        assert response.status_code == 200
        page = response.content.decode()
        assert "<style" not in page
        assert " style=" not in page
        assert "<script>" not in page
        assert "unsafe" not in response["Content-Security-Policy"]
        script = omar.get("docs?script=")
        assert script["Content-Type"].startswith("application/javascript")
        assert "/api/v1/schema" in script.content.decode()


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Streams end at once, nobody is throttled, and requests leave the test's own connection open."""
    monkeypatch.setattr(stream, "LASTS", 0.0)
    monkeypatch.setattr(stream, "connection", _Kept())
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    with override_settings(HOLDPOINT_API_RATE=10**9):
        yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


class _Kept:
    """A connection that is not given back."""

    in_atomic_block = True

    def close(self) -> None:
        """Stays open."""


def identity(name: str, people: dict[str, User]) -> dict[str, dict[str, str]]:
    """What makes a request one of this caller's: headers and cookies."""
    if name == "nobody":
        return {}
    if name == "machine":
        return {"headers": {"Authorization": f"Bearer {a_token(people['omar'])[1]}"}}
    client = Client()
    client.force_login(people[name])
    csrf, session = "a" * 32, client.cookies[settings.SESSION_COOKIE_NAME].value
    cookies = {settings.SESSION_COOKIE_NAME: session, settings.CSRF_COOKIE_NAME: csrf}
    return {"headers": {"X-CSRFToken": csrf}, "cookies": cookies}


def rows() -> dict[str, Any]:
    """How many rows there are of everything, and where every run stands."""
    tables = [
        model._meta.db_table
        for name in ("tools", "runs", "approvals")
        for model in apps.get_app_config(name).get_models()
    ]
    counted = ", ".join(f'(select count(*) from "{table}")' for table in tables)  # noqa: S608
    with connection.cursor() as cursor:
        # In one statement: this is asked after every request.
        cursor.execute(f"select {counted}")
        counts: dict[str, Any] = dict(zip(tables, cursor.fetchone() or (), strict=True))
    counts["heads"] = list(Run.objects.order_by("pk").values_list("pk", "state", "head_seq", "wakes"))
    return counts


def test_it_holds_whoever_asks(people: dict[str, User], world: World, quiet: None) -> None:
    loaded = schemathesis.openapi.from_dict(with_examples(schema(), world))
    loaded.app = WSGIHandler()
    loaded.config.generation.update(with_security_parameters=False)
    known = {name: identity(name, people) for name in REACHED}
    seen: dict[str, set[int]] = {name: set() for name in REACHED}
    tokens = Token.objects.count()
    for found in loaded.get_all_operations():
        takes = found.ok().definition.raw
        # Nothing can be wrong about a request that takes nothing.
        wrong = [GenerationMode.NEGATIVE] if takes.get("parameters") or "requestBody" in takes else []
        for mode in (GenerationMode.POSITIVE, *wrong):
            _ask(found.ok().as_strategy(generation_mode=mode), known, seen)
    for name, statuses in seen.items():
        assert statuses >= REACHED[name], (name, sorted(statuses))
        assert max(statuses) < 500
    assert Token.objects.count() == tokens
    assert not KeptAnswer.objects.filter(status=None).exists()


def _ask(strategy: Any, known: dict[str, dict[str, Any]], seen: dict[str, set[int]]) -> None:
    """Send what comes of `strategy`, each request as everybody, and judge every answer."""

    @hypothesis_settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case: schemathesis.Case) -> None:
        before = rows()
        for name, sent in known.items():
            response = case.call(**sent)
            case.validate_response(response, checks=CHECKS)
            seen[name].add(response.status_code)
            now = rows()
            assert response.status_code < 400 or now == before, (name, case.method, case.path)
            before = now

    ask()


def with_examples(document: dict[str, Any], world: World) -> dict[str, Any]:
    """Ids are those of this world as often as not: a random one finds nothing to break."""
    known = {
        "run_id": [run.pk for run in world.runs.values()],
        "step_id": [world.question.pk],
        "artifact_id": [world.artifact.pk],
        "call_id": [world.call.pk],
        "approval_id": [world.approval.pk],
        "name": ["test.looks"],
        "version": [1],
    }
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                parameter["schema"] = {"anyOf": [{"enum": known[parameter["name"]]}, parameter["schema"]]}
    start = document["components"]["schemas"]["Start"]["properties"]
    for name, likely in {"workflow": list(world.runs), "input": [{}, {"note": "A1"}], "version": [1]}.items():
        start[name] = {"enum": likely}
    return document
