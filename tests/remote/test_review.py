"""What people do with the tools of MCP servers: read them, sign them, disable them, each with history."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django_fsm import TransitionNotAllowed

from tests.remote.conftest import Ledger
from tools.mcp import review
from tools.mcp.offers import Offer, offer
from tools.mcp.rows import RemoteState, RemoteTool
from tools.mcp.servers import Server

CRM = Server("crm", command=("crm-server",))
GIVEN = {"type": "object", "properties": {"text": {"type": "string"}}}
pytestmark = pytest.mark.django_db


def offers(*names: str, **changed: Any) -> dict[str, Offer]:
    told = {"title": "T", "description": "D.", "given": GIVEN, "gives": None, "hints": {}, **changed}
    return {name: offer("crm", name, **told) for name in names}


def take(*names: str, **changed: Any) -> review.Synced:
    return review.take(CRM, offers(*names, **changed), actor="user:omar")


def row(name: str = "mcp_crm_a") -> RemoteTool:
    return RemoteTool.objects.get(name=name)


def told_of(name: str = "mcp_crm_a") -> list[tuple[str, str]]:
    return [(each.state, each.actor) for each in reversed(row(name).history.all())]


class TestSync:
    def test_what_is_new_is_seen_and_irreversible(self) -> None:
        synced = take("a", "b")
        assert [(each.name, each.state) for each in synced.tools] == [
            ("mcp_crm_a", "seen"),
            ("mcp_crm_b", "seen"),
        ]
        assert (row().effect, row().risk, row().version) == ("irreversible", "high", 0)

    def test_again_it_changes_nothing(self) -> None:
        take("a")
        take("a")
        assert told_of() == [("seen", "user:omar")]

    def test_what_changed_is_disabled_and_signed_again_as_another_version(self) -> None:
        take("a")
        review.sign("mcp_crm_a", actor="user:omar", reason="Read it.", effect="read", risk="low")
        take("a", description="Other.")
        assert (row().state, row().reason) == ("disabled", review.CHANGED)
        assert row().signed["description"] == "D."
        review.sign("mcp_crm_a", actor="user:olga", reason="Read it again.")
        assert (row().state, row().version, row().effect) == ("signed", 2, "read")
        assert told_of() == [
            ("seen", "user:omar"),
            ("signed", "user:omar"),
            ("disabled", "user:omar"),
            ("signed", "user:olga"),
        ]

    def test_two_that_would_have_one_name_are_told_apart_by_neither(self) -> None:
        synced = take("a-b", "a.b")
        assert [each.remote for each in synced.tools] == ["a-b"]
        assert synced.left_out == ["a.b: another tool of crm is called mcp_crm_a_b here"]

    def test_what_cannot_be_used_is_left_out_and_what_became_so_is_disabled(self) -> None:
        assert take("a", given={"type": "string"}).left_out == ["a: its arguments are no object"]
        assert not RemoteTool.objects.exists()
        take("a")
        review.sign("mcp_crm_a", actor="user:omar", reason="Read it.")
        take("a", given={"type": "string"})
        assert row().state == RemoteState.DISABLED
        with pytest.raises(review.NotPossible, match="its arguments are no object"):
            review.sign("mcp_crm_a", actor="user:omar", reason="All the same.")

    def test_a_process_disables_and_never_adds(self) -> None:
        take("a")
        review.sign("mcp_crm_a", actor="user:omar", reason="Read it.")
        review.heed(CRM, offers("a", "b"))
        assert row().state == RemoteState.SIGNED
        review.heed(CRM, offers("a", "b", title="Other"))
        assert told_of()[-1] == ("disabled", "system")
        assert RemoteTool.objects.count() == 1


class TestSign:
    def test_what_changed_since_it_was_read_is_not_signed(self) -> None:
        take("a")
        seen = row().offered_digest[:12]
        take("a", description="Other.")
        with pytest.raises(review.NotPossible, match="changed since you read it"):
            review.sign("mcp_crm_a", actor="user:omar", reason="Read it.", seen=seen)

    def test_what_is_gone_is_not_signed(self) -> None:
        take("a")
        take()
        with pytest.raises(review.NotPossible, match="offers it no longer"):
            review.sign("mcp_crm_a", actor="user:omar", reason="Read it.")

    def test_unknown_and_twice_disabled(self) -> None:
        with pytest.raises(review.NoSuchTool):
            review.sign("mcp_crm_x", actor="user:omar", reason="Read it.")
        take("a")
        review.disable("mcp_crm_a", actor="user:omar", reason="Not now.")
        with pytest.raises(review.NotPossible, match="disabled already: Not now"):
            review.disable("mcp_crm_a", actor="user:omar", reason="Again.")

    def test_only_transitions_move_the_state(self) -> None:
        take("a")
        with pytest.raises(AttributeError):
            row().state = RemoteState.SIGNED.value
        disabled = review.disable("mcp_crm_a", actor="user:omar", reason="Not now.")
        with pytest.raises(TransitionNotAllowed):
            disabled.disable()


def told(*words: str) -> Any:
    out = StringIO()
    call_command("tools", "mcp", *words, "--json", stdout=out)
    return json.loads(out.getvalue())


def code(*words: str) -> int:
    with pytest.raises(CommandError) as caught:
        call_command("tools", "mcp", *words, stdout=StringIO(), stderr=StringIO())
    return caught.value.returncode


class TestCommand:
    @pytest.mark.processes
    @pytest.mark.django_db(transaction=True)
    def test_it_works(self, piped: str, ledger: Ledger, omar: User) -> None:
        synced = told("sync", "crm", "--by", "omar")
        assert [each["name"] for each in synced["tools"]] == [
            "mcp_crm_add_note",
            "mcp_crm_misbehave",
            "mcp_crm_say",
        ]
        shown = told("show", "mcp_crm_add_note")
        assert shown["offered"]["description"] == "Writes a note on a customer's card."
        assert shown["hints"] == {"readOnlyHint": True}
        digest = shown["offered_digest"]
        by = ("--by", "omar", "--reason", "Read it.")
        signed = told("sign", "mcp_crm_add_note", "--effect", "write", "--digest", digest[:12], *by)
        assert (signed["state"], signed["effect"], signed["risk"]) == ("signed", "write", "high")
        assert told("disable", "mcp_crm_add_note", *by)["state"] == "disabled"
        assert [each["state"] for each in told("list")] == ["disabled", "seen", "seen"]

    def test_refusals(self, omar: User) -> None:
        User.objects.create_user("ana", password="x")
        by = ("--by", "omar", "--reason", "r")
        assert code("sync", "nobody", "--by", "omar") == 4
        assert code("sync", "crm", "--by", "ana") == 5
        assert code("sign", "mcp_crm_x", *by) == 4
        assert code("sign", "mcp_crm_x", "--by", "ana", "--reason", "r") == 5
        assert code("show", "mcp_crm_x") == 4
        take("a")
        assert code("sign", "mcp_crm_a", "--digest", "beef", *by) == 5

    def test_what_a_server_wrote_hides_nothing(self, omar: User) -> None:
        take("a", description="Harmless\u202e\x1b[2J")
        out = StringIO()
        call_command("tools", "mcp", "show", "mcp_crm_a", stdout=out)
        assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue()
        assert "Harmless" in out.getvalue()


def test_the_admin_shows_rows_and_their_history_and_changes_none(admin_client: Client) -> None:
    take("a", description="<script>alert(1)</script>")
    base = "/admin/tools/remotetool/"
    assert b"mcp_crm_a" in admin_client.get(base).content
    page = admin_client.get(f"{base}{row().pk}/change/").content
    assert b"<script>alert(1)" not in page
    assert admin_client.get(f"{base}{row().pk}/history/").status_code == 200
    assert admin_client.post(f"{base}{row().pk}/change/", {"state": "signed"}).status_code == 403
