"""The page of the kill switch, and the strip that says on every page what is stopped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from ops.roles import ensure_roles
from tools import switches
from tools.registry import tool
from tools.switch import Switch

pytestmark = pytest.mark.django_db
PAGE = "/switches/"


@pytest.fixture(autouse=True)
def asking(installed_tools: None) -> Iterator[None]:
    @tool(effect="read", name="test_ask")
    def ask(what: str) -> str:
        """Asks."""
        return what

    yield


def browser(username: str, role: str) -> Client:
    ensure_roles()
    user = User.objects.create_user(username)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def omar() -> Client:
    return browser("omar", "operators")


@pytest.fixture
def ana() -> Client:
    return browser("ana", "reviewers")


def stop(client: Client, what: str = "effect:write", reason: str = "They pay <twice>.") -> int:
    return client.post(PAGE, {"what": what, "reason": reason}).status_code


def text(client: Client, path: str = PAGE) -> str:
    return client.get(path).content.decode()


def test_it_works(omar: Client) -> None:
    assert "Nothing is stopped." in text(omar)
    assert stop(omar) == 303
    switch = Switch.objects.get()
    assert (switch.kind, switch.name, switch.by) == ("effect", "write", "user:omar")
    shown = text(omar)
    assert "Stopped: all writes" in shown
    assert "Nothing that it stops is under way. No run waits for it." in shown
    done = omar.post(PAGE, {"switch": switch.pk, "then": "leave", "reason": "Repaired."})
    assert done.status_code == 303
    switch.refresh_from_db()
    assert (switch.state, switch.then, switch.released_by) == ("released", "leave", "user:omar")
    assert "Repaired." in text(omar)


def test_every_page_says_what_is_stopped(omar: Client, ana: Client) -> None:
    stop(omar)
    for client, path in ((ana, "/approvals/"), (omar, "/runs/"), (omar, PAGE)):
        shown = text(client, path)
        assert "<strong>Stopped: all writes</strong>" in shown
        assert "by omar: They pay &lt;twice&gt;." in shown
    assert "Stopped" not in Client().get("/sign-in/").content.decode(), "strangers are told nothing"


def test_who_may_not_sees_it_and_can_do_nothing(omar: Client, ana: Client) -> None:
    shown = text(ana)
    assert "Stop something" not in shown
    assert stop(ana) == 403
    assert not Switch.objects.exists()
    stop(omar)
    switch = Switch.objects.get()
    refused = ana.post(PAGE, {"switch": switch.pk, "then": "resume", "reason": "x"})
    assert refused.status_code == 403
    switch.refresh_from_db()
    assert switch.state == "on"


def test_strangers_sign_in_first() -> None:
    answer = Client().get(PAGE)
    assert (answer.status_code, answer.headers["Location"].startswith("/sign-in/")) == (302, True)


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        ({"what": "tool:test_ask", "reason": " "}, 422, "Say why: the reason is kept with the switch."),
        ({"what": "", "reason": "x"}, 422, "Choose what to stop."),
        ({"what": "tool:test_aks", "reason": "x"}, 422, "There is no tool called test_aks"),
        ({"what": "everything:x", "reason": "x"}, 422, "Everything has no name"),
        ({"switch": "sw_none", "then": "resume", "reason": "x"}, 409, "There is no switch sw_none"),
    ],
)
def test_what_cannot_be_is_said(omar: Client, form: dict[str, str], status: int, sentence: str) -> None:
    answer = omar.post(PAGE, form)
    assert answer.status_code == status
    assert sentence in answer.content.decode()
    assert not Switch.objects.exists()


def test_a_release_says_what_becomes_of_the_runs_and_why(omar: Client) -> None:
    stop(omar)
    switch = Switch.objects.get()
    for form in ({"reason": "x"}, {"then": "resume"}, {"then": "both", "reason": "x"}):
        assert omar.post(PAGE, {"switch": switch.pk, **form}).status_code == 422
    switch.refresh_from_db()
    assert switch.state == "on"


def test_somebody_else_was_first(omar: Client) -> None:
    stop(omar)
    switch = Switch.objects.get()
    switches.release(switch.pk, then="resume", reason="Repaired.", by="user:rui")
    answer = omar.post(PAGE, {"switch": switch.pk, "then": "leave", "reason": "x"})
    assert answer.status_code == 409
    assert f"rui released {switch.pk} at " in answer.content.decode()
