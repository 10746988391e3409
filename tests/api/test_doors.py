"""Who may do what: every view declares it, and nothing that is not declared is open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import URLPattern, get_resolver

from approvals import api as approvals_api
from runs.api import urls
from runs.api.door import Door
from runs.api.schema import Unknown
from runs.models import Run
from runs.scopes import SCOPES
from tests.api.conftest import Caller, World, a_token

pytestmark = pytest.mark.django_db(transaction=True)

VIEWS: list[tuple[str, Any]] = [
    (str(pattern.pattern), pattern.callback.cls)  # type: ignore[union-attr]
    for pattern in (*urls.urlpatterns, *approvals_api.urlpatterns)
    if pattern.callback is not None and pattern.callback.cls is not Unknown  # type: ignore[union-attr]
]
EACH = [
    (route, method, view)
    for route, view in VIEWS
    for method in ("GET", "POST")
    if hasattr(view, method.lower())
]
#: What no token may do, whatever its scopes: it takes a person.
PERSONS = {"answer", "decisions", "settle", "activate", "retire", "grant", "questions"}
REVIEWER, OPERATOR, AUDITOR = "ana", "omar", "ada"
#: Who of the three roles may call what; everybody of them may look, so only the exceptions stand here.
ACTS = {
    ("runs", "POST"): {OPERATOR},
    ("bulk", "POST"): {OPERATOR},
    ("pause", "POST"): {OPERATOR},
    ("resume", "POST"): {OPERATOR},
    ("cancel", "POST"): {OPERATOR},
    ("retry", "POST"): {OPERATOR},
    ("fork", "POST"): {OPERATOR},
    ("replay", "POST"): {OPERATOR},
    ("messages", "POST"): {OPERATOR},
    ("calls", "POST"): {OPERATOR},
    ("settle", "POST"): {OPERATOR},
    ("grant", "POST"): {OPERATOR},
    ("activate", "POST"): {OPERATOR},
    ("retire", "POST"): {OPERATOR},
    ("decisions", "POST"): {REVIEWER},
    ("answer", "POST"): {REVIEWER, OPERATOR},
    ("questions", "GET"): {REVIEWER, OPERATOR},
    ("content", "GET"): {REVIEWER, OPERATOR},
}


def test_every_address_under_api_is_one_of_these() -> None:
    found = {pattern.callback.cls for pattern in _patterns() if pattern.callback is not None}
    assert found == {view for _, view in VIEWS} | {Unknown}


def _patterns() -> Iterator[URLPattern]:
    for included in get_resolver().url_patterns:
        if str(included.pattern) == "api/":
            yield from included.url_patterns


@pytest.mark.parametrize(("route", "method", "view"), EACH, ids=lambda value: str(value))
def test_every_method_declares_what_it_takes(route: str, method: str, view: type[Door]) -> None:
    assert issubclass(view, Door)
    need = view.needs[method]
    if last(route) in PERSONS:
        assert need.scope == ""
    else:
        assert need.scope in SCOPES
    if need.permission:
        app, _, codename = need.permission.partition(".")
        assert Permission.objects.filter(content_type__app_label=app, codename=codename).exists()
    else:
        assert last(route) in ("schema", "docs")


def test_what_is_not_declared_is_closed(omar: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls.runs.Runs, "needs", {})
    response = omar.get("runs")
    assert response.status_code == 403
    assert "no permission is declared" in response.json()["detail"]


def last(route: str) -> str:
    """The word that names a view."""
    words = [word for word in route.split("/") if "<" not in word]
    return words[-1]


@pytest.mark.parametrize("username", [REVIEWER, OPERATOR, AUDITOR, "sam"])
def test_the_matrix(people: dict[str, User], world: World, username: str) -> None:
    caller, before, opened = Caller(people[username]), _state(), []
    for route, method, view in EACH:
        if username in _who_may(route, method):
            opened.append((route, method))
            continue
        response = _call(caller, world, route, method)
        assert response.status_code == 403, (route, method, response.content)
        assert view.needs[method].permission in response.json()["detail"]
    assert _state() == before
    for route, method in opened:
        response = _call(caller, world, route, method)
        assert response.status_code not in (401, 403, 500), (route, method, response.content)


def _who_may(route: str, method: str) -> set[str]:
    named = {"sam"} if last(route) in ("schema", "docs") else set()
    looks = {REVIEWER, OPERATOR, AUDITOR} if method == "GET" else set()
    return ACTS.get((last(route), method), looks) | named


def test_strangers_are_asked_to_sign_in(world: World) -> None:
    before = _state()
    for route, method, _ in EACH:
        response = _call(Caller(), world, route, method)
        if last(route) == "docs":
            assert response.status_code == 302
        else:
            assert response.status_code == 401, (route, method)
            assert response["WWW-Authenticate"].startswith("Bearer")
    assert _state() == before


def test_a_token_has_its_scopes_and_no_more(people: dict[str, User], world: World) -> None:
    root, before = User.objects.create_superuser("root"), _state()
    without = {
        scope: Caller(secret=a_token(root, *(each for each in SCOPES if each != scope))[1])
        for scope in ("", *SCOPES)
    }
    for route, method, view in EACH:
        response = _call(without[view.needs[method].scope], world, route, method)
        assert response.status_code == 403, (route, method, response.content)
    assert _state() == before
    everything = without[""]
    for route, method, _ in [each for each in EACH if last(each[0]) in PERSONS]:
        assert "takes a person" in _call(everything, world, route, method).json()["detail"]
    assert _state() == before
    for route, method, _ in [each for each in EACH if last(each[0]) not in PERSONS]:
        response = _call(everything, world, route, method)
        assert response.status_code not in (401, 403, 500), (route, method, response.content)


def _call(caller: Caller, world: World, route: str, method: str) -> Any:
    of_run = world.runs["test.asks"] if last(route) == "answer" else world.runs["test.looks"]
    step = world.question if last(route) == "answer" else of_run.steps.first()
    values = {
        "<run_id:run_id>": of_run.pk,
        "<step_id:step_id>": step.pk if step else "",
        "<artifact_id:artifact_id>": world.artifact.pk,
        "<call_id:call_id>": world.call.pk,
        "<approval_id:approval_id>": world.approval.pk,
        "<workflow_name:name>": "test.looks",
        "<version:version>": "1",
    }
    path = route
    for name, value in values.items():
        path = path.replace(name, value)
    bodies = {
        "runs": {"workflow": "test.looks"},
        "bulk": {"verb": "pause", "runs": [of_run.pk], "reason": "why", "dry_run": False},
        "messages": {"name": "x", "payload": 1},
        "answer": {"value": "blue"},
        "calls": {"tool": "nothing_of_that_name"},
        "fork": {"reason": "why", "at_path": "1"},
        "replay": {},
        "grant": {"reason": "why", "amounts": {"model_requests": 1}},
        "settle": {"outcome": "did_not_happen", "note": "why"},
        "decisions": {"verdict": "approve", "digest": world.approval.digest, "checked": True},
    }
    if method == "GET":
        response = caller.get(f"/api/{path}")
        if response.streaming:
            response.close()  # a stream gives its place back
        return response
    return caller.post(f"/api/{path}", bodies.get(last(route), {"reason": "why"}))


def _state() -> list[Any]:
    return list(Run.objects.order_by("pk").values_list("pk", "state", "head_seq", "wakes"))
