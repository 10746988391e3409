"""Errors: every one is a problem in JSON, says what to do, and gives nothing away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import override_settings

from runs.api.bodies import MAX_REQUEST
from runs.models import Run
from tests.api.conftest import JSON, Caller

pytestmark = pytest.mark.django_db(transaction=True)


def is_problem(response: Any, status: int) -> dict[str, Any]:
    """The problem that `response` must be."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert told["status"] == status
    assert told["type"].startswith("urn:holdpoint:problem:")
    assert told["title"]
    assert told["detail"]
    return told


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/", "/api/v1/nothing", "/api/v1/runs/x", "/api/v2/runs", "/api/v1/runs/"]
)
@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "patch", "options"])
def test_unknown_addresses(omar: Caller, path: str, method: str) -> None:
    is_problem(getattr(omar.client, method)(path), 404)


@pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
def test_wrong_methods(omar: Caller, method: str) -> None:
    response = getattr(omar.client, method)("/api/v1/runs")
    is_problem(response, 405)
    assert set(response["Allow"].split(", ")) >= {"GET", "POST"}
    assert is_problem(omar.client.get("/api/v1/runs/bulk"), 405)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"],
)
def test_only_json_is_taken(omar: Caller, kind: str) -> None:
    response = omar.client.post("/api/v1/runs", b"workflow=test.looks", content_type=kind)
    is_problem(response, 415)
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"workflow": "test.looks", "workflow": "test.sleeps"}', "there twice"),
        ('{"workflow": "test.looks", "input": {"a": 1, "a": 2}}', "there twice"),
        ('{"workflow": "test.looks", "input": NaN}', "NaN"),
        ('{"workflow": "test.looks", "input": -Infinity}', "Infinity"),
        ('{"workflow": "test.looks", "input": 1e999}', "number"),
        ('{"workflow": "test.looks", "input": 12345678901234567890}', "beyond"),
        ('{"workflow": ', "not JSON"),
        ("[" * 100_000, "levels"),
        ("[" * 70 + "]" * 70, "levels"),
        (b'{"workflow": "\xff"}', "UTF-8"),
    ],
)
def test_json_is_strict(omar: Caller, body: Any, said: str) -> None:
    assert said in is_problem(omar.post("runs", body), 400)["detail"]
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("body", "place", "said"),
    [
        ({"input": {}}, "workflow", "is missing"),
        ({"workflow": 4}, "workflow", "should be text"),
        ({"workflow": "test.looks", "speed": 3}, "speed", "is not known here"),
        ({"workflow": "test.looks", "priority": "soon"}, "priority", "should be a whole number"),
        ({"workflow": "test.looks", "priority": 12}, "priority", "should be less than or equal to 9"),
        ([], "the whole", "should be an object"),
    ],
)
def test_it_says_what_does_not_fit_in_plain_words(omar: Caller, body: Any, place: str, said: str) -> None:
    assert {"place": place, "problem": said} in is_problem(omar.post("runs", body), 422)["errors"]


def test_a_reason_of_blanks_is_none(omar: Caller) -> None:
    body = {"verb": "pause", "runs": [], "reason": "  "}
    told = is_problem(omar.post("runs/bulk", body), 422)["errors"]
    assert {"place": "reason", "problem": "should not be blank"} in told
    assert {"place": "runs", "problem": "should have at least 1 item"} in told


@pytest.mark.parametrize("body", ["[]", "1", "null", '"x"', '{"workflow": null}', "{}"])
def test_other_json_does_not_fit(omar: Caller, body: str) -> None:
    assert is_problem(omar.post("runs", body), 422)["errors"]


def test_text_that_no_database_takes_is_kept_out(omar: Caller) -> None:
    body = '{"workflow": "test.looks", "intent": "a\\u0000b\\ud800c", "key": "\\u0000"}'
    assert omar.post("runs", body).status_code == 201
    assert Run.objects.get().intent == "a\ufffdb\ufffdc"


def test_large_requests_are_refused(omar: Caller) -> None:
    is_problem(omar.post("runs", " " * (MAX_REQUEST + 1)), 413)
    large = json.dumps({"workflow": "test.looks", "input": {"note": "x" * (MAX_REQUEST - 100)}})
    is_problem(omar.post("runs", large), 400)
    assert not Run.objects.exists()


def test_what_nobody_foresaw_is_told_without_details(omar: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **more: Any) -> None:
        raise RuntimeError("password is hunter2")

    monkeypatch.setattr("runs.services.start_run", broken)
    for debug in (False, True):
        with override_settings(DEBUG=debug):
            response = omar.post("runs", {"workflow": "test.looks"})
        is_problem(response, 500)
        assert "hunter2" not in response.content.decode()
        assert "Traceback" not in response.content.decode()


def test_a_database_that_is_away_is_told_so(omar: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **more: Any) -> None:
        raise OperationalError("connection refused at 10.0.0.7")

    monkeypatch.setattr("runs.services.start_run", away)
    response = omar.post("runs", {"workflow": "test.looks"})
    assert "10.0.0.7" not in is_problem(response, 503)["detail"]
    assert response["Retry-After"]


def test_a_failure_before_the_view_is_a_problem_too(omar: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, request: Any) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("django.middleware.csrf.CsrfViewMiddleware.process_request", broken)
    omar.client.handler._middleware_chain = None  # made anew, with the broken one
    is_problem(omar.client.get("/api/v1/runs"), 500)


def test_a_host_that_is_not_ours_is_a_problem_too(omar: Caller) -> None:
    is_problem(omar.client.get("/api/v1/runs", headers={"Host": "evil.example"}), 400)


def test_too_many_requests_are_told_when_to_come_back(people: dict[str, User]) -> None:
    with override_settings(HOLDPOINT_API_RATE=3):
        omar, ana = Caller(people["omar"]), Caller(people["ana"])
        assert [omar.get("runs").status_code for _ in range(4)] == [200, 200, 200, 429]
        response = omar.get("runs")
        is_problem(response, 429)
        assert 0 < int(response["Retry-After"]) <= 60
        assert ana.get("runs").status_code == 200


def test_pages_keep_their_own_errors(omar: Caller) -> None:
    assert omar.client.get("/nothing-here/")["Content-Type"].startswith("text/html")


def test_get_with_a_body_is_read_as_get(omar: Caller) -> None:
    response = omar.client.generic("GET", "/api/v1/runs", b"{broken", content_type=JSON)
    assert response.status_code == 200
