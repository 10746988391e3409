"""manage.py approvals: the same verb as the page, with an exit code for each refusal."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command

from approvals.models import Approval, Decision
from tests.approvals.conftest import Asked, People, overdue


def typed(*words: str) -> tuple[int, Any]:
    """The exit code and the one JSON value on standard output."""
    out = StringIO()
    try:
        call_command("approvals", *words, "--json", stdout=out, stderr=StringIO())
    except CommandError as error:
        return error.returncode, json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def decide(approval: Approval, *words: str, by: str = "bea", digest: str = "") -> tuple[int, Any]:
    return typed("decide", approval.pk, *words, "--digest", digest or approval.digest, "--by", by)


@pytest.fixture(autouse=True)
def may_look(people: People) -> None:
    people.olga.user_permissions.add(Permission.objects.get(codename="view_approval"))


class TestLooking:
    def test_list_and_show(self, ask: Asked, people: People) -> None:
        approval = ask()
        assert [row["id"] for row in typed("list")[1]] == [approval.pk]
        assert [row["id"] for row in typed("list", "--by", "bea")[1]] == [approval.pk]
        assert typed("list", "--by", "ana")[1] == []  # she asked for it herself
        code, shown = typed("show", approval.pk, "--by", "olga")
        assert (code, shown["digest"], shown["arguments"]) == (0, approval.digest, approval.arguments)

    def test_it_is_told_in_words(self, ask: Asked, people: People) -> None:
        out = StringIO()
        call_command("approvals", "show", ask().pk, "--by", "olga", stdout=out)
        assert "Nobody has decided yet" in out.getvalue()
        assert out.getvalue().splitlines()[-1].startswith("digest ")

    def test_refusals(self, ask: Asked, people: People) -> None:
        assert typed("show", "apr_none", "--by", "olga")[0] == 4
        assert typed("show", ask().pk, "--by", "bea")[0] == 5
        assert typed("list", "--by", "nobody")[0] == 4
        assert typed("list", "--limit", "0")[0] == 2


class TestDeciding:
    def test_yes_and_no(self, ask: Asked, people: People) -> None:
        approval = ask()
        code, told = decide(approval, "approve")
        assert (code, told["state"], told["by"]) == (0, "approved", "user:bea")
        assert Decision.objects.get().client == "command"
        assert decide(approval, "approve")[1]["decision"] == told["decision"]

    def test_a_no_says_why_and_what_then(self, ask: Asked, people: People) -> None:
        approval = ask()
        assert decide(approval, "reject")[0] == 2
        code, told = decide(approval, "reject", "--reason", "too much", "--next", "send_back")
        assert (code, told["state"]) == (0, "rejected")
        assert Decision.objects.get().next == "send_back"

    def test_every_refusal_leaves_it_undecided(self, ask: Asked, people: People) -> None:
        approval = ask()
        assert decide(approval, "approve", by="ana")[0] == 5  # she asked for it
        assert decide(approval, "approve", by="olga")[0] == 5
        assert decide(approval, "approve", by="nobody")[0] == 4
        assert decide(approval, "approve", digest="0" * 64)[0] == 6
        assert not Decision.objects.exists()

    def test_conflicts(self, ask: Asked, people: People) -> None:
        approval = ask()
        decide(approval, "approve", by="carl")
        code, told = decide(approval, "reject", "--reason", "no")
        assert (code, told["error"]["code"]) == (6, "conflict")
        assert "carl approved this" in told["error"]["message"]
        assert typed("decide", "apr_none", "approve", "--digest", "x", "--by", "bea")[0] == 4

    def test_too_late(self, ask: Asked, people: People) -> None:
        assert decide(overdue(ask()), "approve")[0] == 6
        assert not Decision.objects.exists()
