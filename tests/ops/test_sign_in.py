"""Signing in and out, and what stands around every page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axes.utils import reset
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from ops import screen
from tools import registry

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse"


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana", password=PASSWORD, first_name="Ana", last_name="Reyes")


@pytest.fixture(autouse=True)
def nobody_is_locked_out(db: None) -> None:
    reset()


def sign_in(client: Client, username: str = "ana", password: str = PASSWORD, **more: str) -> Any:
    return client.post("/sign-in/", {"username": username, "password": password, **more})


class TestSignIn:
    def test_it_works(self, client: Client, ana: User) -> None:
        page = client.get("/sign-in/?next=/runs/").content.decode()
        assert 'autocomplete="username"' in page
        assert 'autocomplete="current-password"' in page
        assert 'value="/runs/"' in page
        response = sign_in(client, next="/runs/?state=failed")
        assert response["Location"] == "/runs/?state=failed"

    @pytest.mark.parametrize(
        "elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
    )
    def test_it_leads_nowhere_else(self, client: Client, ana: User, elsewhere: str) -> None:
        assert sign_in(client, next=elsewhere)["Location"] == "/"

    def test_a_wrong_name_and_a_wrong_password_read_the_same(self, client: Client, ana: User) -> None:
        answers = [sign_in(client, password="wrong"), sign_in(client, username="nobody")]
        for answer in answers:
            assert answer.status_code == 422
            assert "The user name or the password is not right" in answer.content.decode()
            assert 'role="alert"' in answer.content.decode()

    def test_inactive_people_read_the_same_too(self, client: Client, ana: User) -> None:
        User.objects.update(is_active=False)
        assert "The user name or the password is not right" in sign_in(client).content.decode()

    def test_whoever_tries_too_often_is_told_when_to_try_again(self, client: Client, ana: User) -> None:
        for _ in range(5):
            answer = sign_in(client, password="wrong", next="/runs/")
        page = answer.content.decode()
        assert answer.status_code == 429
        assert "You can try again" in page
        assert "in 29 min" in page or "in 30 min" in page
        assert 'value="/runs/"' in page
        # The right password opens nothing meanwhile, and other people are not concerned.
        assert sign_in(client).status_code == 429
        User.objects.create_user("ben", password=PASSWORD)
        assert sign_in(client, username="ben").status_code == 302

    def test_whoever_is_signed_in_goes_on(self, client: Client, ana: User) -> None:
        client.force_login(ana)
        assert client.get("/sign-in/?next=/runs/")["Location"] == "/runs/"

    def test_signing_out_takes_a_form(self, client: Client, ana: User) -> None:
        client.force_login(ana)
        assert client.get("/sign-out/").status_code == 405
        assert client.get("/").status_code == 302
        assert client.post("/sign-out/")["Location"] == "/sign-in/"
        assert client.get("/")["Location"] == "/sign-in/"

    def test_no_page_for_it_is_kept(self, client: Client) -> None:
        assert "no-store" in client.get("/sign-in/")["Cache-Control"]


class TestHome:
    def test_reviewers_begin_at_the_queue_others_at_the_runs(self, client: Client, ana: User) -> None:
        client.force_login(ana)
        assert client.get("/")["Location"] == "/runs/"
        ana.user_permissions.add(Permission.objects.get(codename="decide_approval"))
        assert client.get("/")["Location"] == "/queue/"


class TestAdminDoor:
    def test_strangers_sign_in_at_the_one_place(self, client: Client) -> None:
        response = client.get("/admin/runs/run/", follow=True)
        assert response.redirect_chain[-1][0] == "/sign-in/?next=%2Fadmin%2Fruns%2Frun%2F"

    def test_people_who_are_no_staff_are_told_so(self, client: Client, ana: User) -> None:
        client.force_login(ana)
        response = client.get("/admin/", follow=True)
        assert response.status_code == 403
        assert "The admin is open to staff only" in response.content.decode()

    def test_staff_come_in(self, client: Client, ana: User) -> None:
        User.objects.update(is_staff=True)
        client.force_login(ana)
        assert client.get("/admin/").status_code == 200
        assert client.get("/admin/login/")["Location"] == "/admin/"

    def test_the_admin_has_no_sign_in_form(self, client: Client, ana: User) -> None:
        User.objects.update(is_staff=True)
        response = client.post("/admin/login/", {"username": "ana", "password": PASSWORD})
        assert response.status_code == 405
        assert "_auth_user_id" not in client.session


class TestAround:
    def test_what_one_may_not_use_is_absent(self, client: Client, ana: User) -> None:
        client.force_login(ana)
        page = client.get("/runs/").content.decode()
        assert not any(link in page for link in ('href="/queue/"', 'href="/runs/"', 'href="/admin/"'))
        ana.user_permissions.add(*Permission.objects.filter(codename__in=["view_run", "view_approval"]))
        page = client.get("/runs/").content.decode()
        assert 'href="/queue/"' in page
        assert 'href="/admin/"' not in page
        assert "Ana Reyes" in page

    def test_a_demo_says_so_on_every_page(
        self, client: Client, settings: Settings, tmp_path: Path, installed_tools: None
    ) -> None:
        settings.EMBEDDED, settings.HOLDPOINT_DATA = True, tmp_path
        assert "Demo installation" not in client.get("/sign-in/").content.decode()
        (tmp_path / "sign-ins.json").touch()
        assert "nothing real is sent" in client.get("/sign-in/").content.decode()
        settings.EMBEDDED = False
        assert "Demo installation" not in client.get("/sign-in/").content.decode()

    def test_a_demo_with_real_tools_does_not_lull(self, settings: Settings, tmp_path: Path) -> None:
        settings.EMBEDDED, settings.HOLDPOINT_DATA = True, tmp_path
        (tmp_path / "sign-ins.json").touch()
        with registry.scratch():

            @registry.tool(effect="read")
            def call_the_bank(account: str) -> str:
                return account

            assert "what they send is real" in screen.environment()

    @pytest.mark.parametrize(
        ("chosen", "kept"), [("dark", "dark"), ("light", "light"), ("", ""), ("<x>", "")]
    )
    def test_the_server_knows_the_colours(self, client: Client, chosen: str, kept: str) -> None:
        response = client.post(
            "/theme/", {"theme": chosen}, headers={"Referer": "http://testserver/sign-in/"}
        )
        assert (response.status_code, response["Location"]) == (303, "http://testserver/sign-in/")
        page = client.get("/sign-in/").content.decode()
        assert (f'data-theme="{kept}"' in page) if kept else ("data-theme" not in page)

    def test_choosing_colours_leads_nowhere_else(self, client: Client) -> None:
        response = client.post("/theme/", {"theme": "dark"}, headers={"Referer": "https://evil.example/"})
        assert response["Location"] == "/"
        assert client.get("/theme/").status_code == 405

    def test_an_unknown_address_shows_no_paths(self, client: Client) -> None:
        response = client.get("/nowhere/")
        assert response.status_code == 404
        assert "sign-in/" not in response.content.decode().split("<main")[1].split("</main")[0]
