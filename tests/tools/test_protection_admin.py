"""The admin of breakers: to be read by all, to be moved by operators with a reason, and by POST alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from tools import breakers, limits
from tools.contract import Tool
from tools.options import Breaker, Limit
from tools.protection import BreakerMove, ToolBreaker
from tools.registry import tool

pytestmark = pytest.mark.django_db
PAGE = "/admin/tools/toolbreaker/"
SIGNED_IN = Callable[..., Client]


def ask(what: str) -> str:
    """Asks."""
    return what


@pytest.fixture(autouse=True)
def asking() -> Iterator[Tool]:
    breakers.forget()
    made = tool(effect="read", name="test_ask", breaker=Breaker(), limit=Limit(at_once=1))(ask)
    breakers.open_by_hand(made, 600, reason="<b>they asked</b>", actor="user:omar")
    yield made
    breakers.forget()


@pytest.fixture
def signed_in() -> SIGNED_IN:
    def sign_in(name: str, *permissions: str, **more: bool) -> Client:
        someone = get_user_model().objects.create_user(name, is_staff=True)
        for codename in ("view_toolbreaker", "view_breakermove", "view_ticket", *permissions):
            someone.user_permissions.add(Permission.objects.get(codename=codename))
        client = Client(**more)
        client.force_login(someone)
        return client

    return sign_in


def test_it_works(signed_in: SIGNED_IN) -> None:
    omar = signed_in("omar", "move_toolbreaker")
    assert "test_ask" in omar.get(PAGE).content.decode()
    page = omar.get(f"{PAGE}test_ask/change/").content.decode()
    assert "Close it" in page
    assert "<b>they asked</b>" not in page
    form = omar.get(f"{PAGE}test_ask/close/").content.decode()
    assert "Calls pass again at once" in form
    assert "<b>they asked</b>" not in form
    assert ToolBreaker.objects.get().state == "open"  # looking changes nothing
    assert omar.post(f"{PAGE}test_ask/close/", {"reason": "they are back"}).status_code == 302
    assert ToolBreaker.objects.get().state == "closed"
    move = BreakerMove.objects.order_by("-id")[0]
    assert (move.actor, move.reason, move.before, move.after) == (
        "user:omar",
        "they are back",
        "open",
        "closed",
    )
    assert omar.post(f"{PAGE}test_ask/open/", {"reason": "again", "seconds": 60}).status_code == 302
    assert ToolBreaker.objects.get().state == "open"


@pytest.mark.parametrize("given", [{"reason": " ", "seconds": 60}, {"reason": "x", "seconds": 0}, {}])
def test_what_is_missing_or_wrong_moves_nothing(signed_in: SIGNED_IN, given: dict[str, object]) -> None:
    omar = signed_in("omar", "move_toolbreaker")
    assert omar.post(f"{PAGE}test_ask/open/", given).status_code == 422
    assert BreakerMove.objects.count() == 1


def test_who_may_only_look_moves_nothing(signed_in: SIGNED_IN) -> None:
    ada = signed_in("ada")
    assert "Close it" not in ada.get(f"{PAGE}test_ask/change/").content.decode()
    for verb in ("open", "close"):
        assert ada.get(f"{PAGE}test_ask/{verb}/").status_code == 403
        assert ada.post(f"{PAGE}test_ask/{verb}/", {"reason": "x", "seconds": 60}).status_code == 403
    assert BreakerMove.objects.count() == 1


def test_without_its_token_a_form_is_refused(signed_in: SIGNED_IN) -> None:
    omar = signed_in("omar", "move_toolbreaker", enforce_csrf_checks=True)
    assert omar.post(f"{PAGE}test_ask/close/", {"reason": "x"}).status_code == 403
    assert ToolBreaker.objects.get().state == "open"


def test_a_tool_that_is_not_here_is_a_sentence(signed_in: SIGNED_IN) -> None:
    omar = signed_in("omar", "move_toolbreaker")
    ToolBreaker.objects.update(tool="gone")
    page = omar.post(f"{PAGE}gone/close/", {"reason": "x"})
    assert page.status_code == 422
    assert "There is no tool called gone" in page.content.decode()
    assert omar.get(f"{PAGE}nothing/close/").status_code == 404


def test_the_state_is_no_field_that_a_form_sets(signed_in: SIGNED_IN, asking: Tool) -> None:
    omar = signed_in("omar", "move_toolbreaker")
    assert omar.post(f"{PAGE}test_ask/change/", {"state": "closed"}).status_code == 403
    assert ToolBreaker.objects.get().state == "open"
    limits.reserve(asking, "k1", "run_1")
    assert "k1" in omar.get("/admin/tools/ticket/").content.decode()
    assert "they asked" in omar.get("/admin/tools/breakermove/").content.decode()
