"""Tokens: the secret is shown once, the rights are the user's at that moment, time and people end them."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from runs import services
from runs.clock import db_now
from runs.models import Token
from runs.services.tokens import FORM, MAX_DAYS
from tests.api.conftest import Caller, a_token

pytestmark = pytest.mark.django_db(transaction=True)


class TestIssue:
    def test_it_works(self, people: dict[str, User]) -> None:
        token, secret = a_token(people["omar"], "runs:read", days=30)
        assert FORM.fullmatch(secret)
        assert Caller(secret=secret).get("runs").status_code == 200
        kept = Token.objects.get()
        assert kept.secret_hash == hashlib.sha256(secret.encode()).hexdigest()
        assert kept.created_by == "user:ada"
        assert timedelta(days=29) < kept.expires_at - db_now() <= timedelta(days=30)
        assert secret not in json.dumps(list(Token.objects.values()), default=str)
        history = kept.history.get()
        assert (history.actor, history.history_change_reason) == ("user:ada", "Issued for ci")
        assert not hasattr(history, "secret_hash")

    @pytest.mark.parametrize(
        ("name", "scopes", "days", "said"),
        [
            ("ci", ["runs:read"], 0, "1 to 366 days"),
            ("ci", ["runs:read"], MAX_DAYS + 1, "1 to 366 days"),
            ("ci", [], 30, "at least one scope"),
            ("ci", ["runs:everything"], 30, "no scope runs:everything"),
            ("ci", ["approvals:decide"], 30, "no scope approvals:decide"),
            ("  ", ["runs:read"], 30, "Name the system"),
            ("x" * 101, ["runs:read"], 30, "Name the system"),
        ],
    )
    def test_it_refuses(self, people: Any, name: str, scopes: list[str], days: int, said: str) -> None:
        with pytest.raises(services.TokenRefused, match=said):
            services.issue_token(people["omar"], name, scopes, days=days, actor="user:ada")
        assert not Token.objects.exists()

    def test_nobody_inactive_gets_one(self, people: dict[str, User]) -> None:
        people["omar"].is_active = False
        with pytest.raises(services.TokenRefused, match="not active"):
            a_token(people["omar"])


class TestUse:
    def test_a_revoked_one_ends_at_once(self, people: dict[str, User]) -> None:
        token, secret = a_token(people["omar"])
        services.revoke_token(token.pk, actor="user:ada", reason="Lost")
        assert Caller(secret=secret).get("runs").status_code == 401
        again = services.revoke_token(token.pk, actor="user:omar")
        assert [row.actor for row in again.history.all()] == ["user:ada", "user:ada"]

    def test_an_expired_one_ends(self, people: dict[str, User]) -> None:
        token, secret = a_token(people["omar"])
        Token.objects.filter(pk=token.pk).update(expires_at=db_now())
        assert Caller(secret=secret).get("runs").status_code == 401

    def test_it_has_the_rights_of_its_user_as_they_are_now(self, people: dict[str, User]) -> None:
        caller = Caller(secret=a_token(people["omar"])[1])
        assert caller.post("runs", {"workflow": "test.looks"}).status_code == 201
        people["omar"].groups.clear()
        assert caller.post("runs", {"workflow": "test.looks"}).status_code == 403
        User.objects.filter(pk=people["omar"].pk).update(is_active=False)
        assert caller.get("runs").status_code == 401

    @pytest.mark.parametrize("sent", ["hp_", "hp_" + "a" * 43, "x", "", "hp_" + "é" * 43, "a b"])
    def test_any_other_secret_is_told_the_same(self, people: Any, sent: str) -> None:
        response = Client().get("/api/v1/runs", headers={"Authorization": f"Bearer {sent}"})
        assert response.status_code == 401
        assert response.json()["detail"] == (
            "This token is not known, has expired or was revoked; ask for a new one."
        )

    def test_a_bad_token_is_not_helped_by_a_session(self, omar: Caller) -> None:
        omar.headers = {"Authorization": "Bearer hp_" + "a" * 43}
        assert omar.get("runs").status_code == 401

    def test_it_is_noted_when_it_was_used(self, people: dict[str, User]) -> None:
        token, secret = a_token(people["omar"])
        Caller(secret=secret).get("runs")
        token.refresh_from_db()
        first = token.last_used_at
        assert first is not None
        Caller(secret=secret).get("runs")
        token.refresh_from_db()
        assert token.last_used_at == first  # at most once a minute

    def test_it_is_in_no_log_and_no_error(
        self, people: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret = a_token(people["omar"])[1]

        def broken(*args: Any, **more: Any) -> None:
            raise RuntimeError("no such luck")

        monkeypatch.setattr("runs.services.start_run", broken)
        response = Caller(secret=secret).post("runs", {"workflow": "test.looks"})
        assert response.status_code == 500
        assert caplog.records
        told = response.content.decode() + caplog.text + "".join(str(vars(each)) for each in caplog.records)
        assert secret not in told
        assert "no such luck" not in response.content.decode()

    def test_it_needs_no_csrf_token(self, people: dict[str, User]) -> None:
        caller = Caller(secret=a_token(people["omar"])[1], csrf=True)
        assert caller.post("runs", {"workflow": "test.looks"}).status_code == 201


class TestSession:
    def test_a_post_needs_the_csrf_token(self, people: dict[str, User]) -> None:
        caller = Caller(people["omar"], csrf=True)
        response = caller.post("runs", {"workflow": "test.looks"})
        assert response.status_code == 403
        assert response["Content-Type"] == "application/problem+json"
        assert "X-CSRFToken" in response.json()["detail"]
        caller.client.get("/sign-in/")
        caller.client.get("/runs/")
        caller.client.cookies["csrftoken"] = token = "a" * 32
        assert caller.post("runs", {"workflow": "test.looks"}, X_CSRFToken=token).status_code == 201


class TestCommand:
    def said(self, *words: str) -> str:
        out = StringIO()
        call_command("tokens", *words, stdout=out)
        return out.getvalue()

    def test_it_works(self, people: dict[str, User]) -> None:
        issue = ("issue", "ci", "--user", "omar", "--by", "ada", "--days", "30", "--scope", "runs:read")
        made = json.loads(self.said(*issue, "--scope", "runs:start", "--json"))
        assert made["scopes"] == ["runs:read", "runs:start"]
        assert Caller(secret=made["secret"]).get("runs").status_code == 200
        listed = json.loads(self.said("list", "--json"))
        assert [each["id"] for each in listed] == [made["id"]]
        assert made["secret"] not in self.said("list")
        json.loads(self.said("revoke", made["id"], "--by", "ada", "--json"))
        assert self.said("list") == "There are no tokens.\n"
        assert "revoked" in self.said("list", "--all")
        assert "it is not shown again" in self.said(*issue)

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("revoke", "tok_0", "--by", "ada"), 4),
            (("issue", "ci", "--user", "nobody", "--by", "ada", "--days", "3", "--scope", "runs:read"), 4),
            (("issue", "ci", "--user", "omar", "--by", "ada", "--days", "999", "--scope", "runs:read"), 5),
        ],
    )
    def test_refusals_have_their_codes(self, people: Any, words: tuple[str, ...], code: int) -> None:
        with pytest.raises(CommandError) as refused:
            self.said(*words)
        assert refused.value.returncode == code


class TestAdmin:
    def test_it_shows_no_secret_and_revokes(self, people: dict[str, User]) -> None:
        token, secret = a_token(people["omar"])
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        for page in (
            reverse("admin:runs_token_changelist"),
            reverse("admin:runs_token_change", args=[token.pk]),
            reverse("admin:runs_token_history", args=[token.pk]),
        ):
            shown = client.get(page)
            assert shown.status_code == 200
            assert token.secret_hash not in shown.content.decode()
            assert secret not in shown.content.decode()
        act = {"action": "revoke", "_selected_action": [token.pk]}
        assert client.post(reverse("admin:runs_token_changelist"), act).status_code == 302
        token.refresh_from_db()
        assert token.revoked_at is not None
        assert token.history.first().actor == "user:root"

    def test_whoever_may_only_look_revokes_nothing(self, people: dict[str, User]) -> None:
        token, _ = a_token(people["omar"])
        people["ada"].is_staff = True
        people["ada"].save()
        client = Client()
        client.force_login(people["ada"])
        page = reverse("admin:runs_token_changelist")
        assert client.get(page).status_code == 200
        client.post(page, {"action": "revoke", "_selected_action": [token.pk]})
        assert client.post(reverse("admin:runs_token_add"), {"name": "x"}).status_code == 403
        token.refresh_from_db()
        assert token.revoked_at is None
