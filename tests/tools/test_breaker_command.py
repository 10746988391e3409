"""``tools breaker`` and ``tools show``: how a tool's protection stands, and who may move its breaker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command

from tools import breakers, limits
from tools.contract import Tool
from tools.failures import ToolUnavailable
from tools.options import Breaker, Limit
from tools.protection import BreakerMove
from tools.registry import tool

pytestmark = pytest.mark.django_db


def ask(what: str) -> str:
    """Asks."""
    return what


@pytest.fixture(autouse=True)
def asking() -> Iterator[Tool]:
    breakers.forget()
    yield tool(effect="read", name="test_ask", breaker=Breaker(), limit=Limit(at_once=1))(ask)
    breakers.forget()


@pytest.fixture(autouse=True)
def people() -> None:
    people = get_user_model().objects
    omar = people.create_user("omar")
    omar.user_permissions.add(Permission.objects.get(codename="move_toolbreaker"))
    people.create_user("ana")


def run(*words: str) -> str:
    out = StringIO()
    call_command("tools", *words, stdout=out)
    return out.getvalue()


def test_it_works(asking: Tool) -> None:
    assert run("breaker", "test_ask") == "test_ask: closed: calls pass\n"
    said = run("breaker", "test_ask", "--open", "600", "--reason", "they asked", "--by", "omar")
    assert "open: no call passes before" in said
    with pytest.raises(ToolUnavailable, match="they asked"):
        breakers.take(asking, "k1")
    told = json.loads(run("breaker", "test_ask", "--json"))
    assert (told["state"], told["reason"]) == ("open", "they asked (by hand)")
    assert "closed" in run("breaker", "test_ask", "--close", "--reason", "back", "--by", "omar")
    assert [(move.actor, move.after) for move in BreakerMove.objects.all()] == [
        ("user:omar", "open"),
        ("user:omar", "closed"),
    ]


def test_show_says_how_a_tool_is_protected(asking: Tool) -> None:
    assert limits.reserve(asking, "k1", "run_1") is None
    assert limits.reserve(asking, "k2", "run_2") is not None
    told = json.loads(run("show", "test_ask", "--json"))
    assert told["breaker"]["state"] == "closed"
    assert (told["limit"]["under_way"], told["limit"]["in_line"]) == (1, 1)
    assert "1 at once, 1 under way; 1 in line" in run("show", "test_ask")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--open", "60", "--by", "omar"), 2, "--reason"),
        (("--close", "--reason", "x"), 2, "--by"),
        (("--close", "--reason", "x", "--by", "ana"), 5, "ana may not open or close breakers"),
        (("--close", "--reason", "x", "--by", "nobody"), 4, "no active user"),
        (("--open", "0", "--reason", "x", "--by", "omar"), 5, "give 1 to 86400"),
        (("--open", "nan", "--reason", "x", "--by", "omar"), 5, "give 1 to 86400"),
    ],
)
def test_what_is_refused_moves_nothing(words: tuple[str, ...], code: int, said: str) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        run("breaker", "test_ask", *words)
    assert caught.value.returncode == code
    assert not BreakerMove.objects.exists()


def test_a_tool_without_any() -> None:
    tool(effect="read", name="test_bare")(ask)
    assert run("breaker", "test_bare") == "test_bare: none\n"
    with pytest.raises(CommandError, match="declares no breaker"):
        run("breaker", "test_bare", "--close", "--reason", "x", "--by", "omar")


def test_list_says_whether_calls_pass(asking: Tool) -> None:
    def line() -> str:
        (found,) = [line for line in run("list").splitlines() if line.startswith("test_ask ")]
        return found

    assert " pass" in line()
    limits.reserve(asking, "k1", "run_1")
    limits.reserve(asking, "k2", "run_2")
    breakers.open_by_hand(asking, 60, reason="they asked", actor="user:omar")
    assert "stopped, 1 in line" in line()
