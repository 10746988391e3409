"""``tools kill``, ``tools release`` and ``tools switches``: who may, what they are told, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command

from tools import switches
from tools.registry import tool
from tools.switch import Switch

pytestmark = pytest.mark.django_db
WHY = ("--reason", "They pay twice.", "--by", "omar")


@pytest.fixture(autouse=True)
def asking() -> Iterator[None]:
    @tool(effect="read", name="test_ask")
    def ask(what: str) -> str:
        """Asks."""
        return what

    yield


@pytest.fixture(autouse=True)
def people() -> None:
    people = get_user_model().objects
    people.create_user("ana")
    people.create_user("omar").user_permissions.add(Permission.objects.get(codename="switch_tool"))


def said(*words: str) -> str:
    out = StringIO()
    call_command("tools", *words, stdout=out)
    return out.getvalue()


def told(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


def refused(*words: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        said(*words)
    return caught.value.returncode, str(caught.value)


def test_it_works() -> None:
    killed = told("kill", "tool", "test_ask", *WHY)
    assert (killed["stops"], killed["state"], killed["under_way"]) == ("tool test_ask", "on", [])
    (listed,) = told("switches")
    assert (listed["switch"], listed["by"], listed["waiting_runs"]) == (killed["switch"], "user:omar", 0)
    released = told("release", killed["switch"], "--then", "leave", *WHY)
    assert (released["state"], released["then"], released["waited"]) == ("released", "leave", 0)
    assert said("switches") == "Nothing is stopped.\n"
    assert len(told("switches", "--all")) == 1


def test_people_read_sentences() -> None:
    text = said("kill", "effect", "write", *WHY)
    assert text.startswith("All writes: stopped since ")
    assert text.endswith("Nothing that it stops is under way.\n")
    assert "all writes" in said("switches")
    switch = Switch.objects.get()
    text = said("release", switch.pk, "--then", "resume", *WHY)
    assert text == "All writes: released. No run waited for it.\n"


def test_who_did_it_and_why_is_kept() -> None:
    switch = switches.kill("everything", reason="Fire.", by="user:omar")
    switches.release(switch.pk, then="resume", reason="Out.", by="user:ana")
    kept = switch.history.order_by("history_id").values_list("state", "actor", "history_change_reason")
    assert list(kept) == [("on", "user:omar", "Fire."), ("released", "user:ana", "Out.")]


def test_the_same_order_twice_is_one_switch() -> None:
    first = told("kill", "everything", *WHY)
    assert told("kill", "everything", *WHY)["switch"] == first["switch"]
    told("release", first["switch"], "--then", "resume", *WHY)
    assert told("kill", "everything", *WHY)["switch"] != first["switch"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("kill", "tool", "test_aks"), 4, "There is no tool called test_aks"),
        (("kill", "tool"), 4, "There is no tool called nothing"),
        (("kill", "effect", "danger"), 4, "There is no effect called danger; there is read, draft, write"),
        (("kill", "everything", "test_ask"), 4, "Everything has no name"),
        (("release", "sw_none", "--then", "resume"), 4, "There is no switch sw_none"),
    ],
)
def test_what_there_is_not_is_not_stopped(words: tuple[str, ...], code: int, sentence: str) -> None:
    found, text = refused(*words, *WHY)
    assert (found, text.startswith(sentence)) == (code, True), text
    assert not Switch.objects.exists()


def test_a_reason_is_needed() -> None:
    assert refused("kill", "everything", "--reason", " ", "--by", "omar")[0] == 2


def test_only_who_may_stops_and_releases() -> None:
    assert refused("kill", "everything", "--reason", "Fire.", "--by", "ana")[0] == 5
    switch = switches.kill("everything", reason="Fire.", by="user:omar")
    assert refused("release", switch.pk, "--then", "resume", "--reason", "Out.", "--by", "ana")[0] == 5


def test_what_was_released_is_not_released_again() -> None:
    switch = switches.kill("everything", reason="Fire.", by="user:omar")
    said("release", switch.pk, "--then", "resume", *WHY)
    code, sentence = refused("release", switch.pk, "--then", "leave", *WHY)
    assert (code, sentence.startswith(f"omar released {switch.pk} at ")) == (6, True)
