"""Roles, and the four people of the demo."""

import stat
from pathlib import Path

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import Group
from django.test import RequestFactory

from ops.demo_people import ensure_demo_people
from ops.roles import ROLES, ensure_roles

pytestmark = pytest.mark.django_db


def may(username: str, permission: str) -> bool:
    return bool(get_user_model().objects.get(username=username).has_perm(permission))


class TestRoles:
    def test_come_with_the_migrations(self) -> None:
        assert set(ROLES) <= set(Group.objects.values_list("name", flat=True))

    def test_what_an_installation_added_stays(self) -> None:
        Group.objects.get(name="auditors").permissions.clear()
        ensure_roles()
        assert Group.objects.get(name="auditors").permissions.filter(codename="verify_journal").exists()


class TestDemoPeople:
    def test_each_does_their_own_work_and_no_other(self, tmp_path: Path) -> None:
        ensure_demo_people(tmp_path)
        for permission, allowed in (
            ("approvals.decide_approval", {"ana", "ben"}),
            ("runs.start_run", {"omar"}),
            ("runs.activate_workflow", {"omar"}),
            ("runs.change_schedule", {"omar"}),
            ("tools.settle_toolcall", {"omar"}),
            ("tools.sign_remotetool", {"omar"}),
            ("tools.move_toolbreaker", {"omar"}),
            ("tools.switch_tool", {"omar"}),
            ("runs.view_technical", {"omar"}),
            ("runs.verify_journal", {"ada"}),
            ("runs.view_run", {"ana", "ben", "omar", "ada"}),
            ("auth.change_user", set()),
        ):
            assert {name for name in ("ana", "ben", "omar", "ada") if may(name, permission)} == allowed, (
                permission
            )

    def test_passwords_are_random_kept_and_work(self, tmp_path: Path) -> None:
        people = ensure_demo_people(tmp_path)
        assert ensure_demo_people(tmp_path) == people
        assert len({person.password for person in people}) == 4
        assert stat.S_IMODE((tmp_path / "sign-ins.json").stat().st_mode) == 0o600
        request = RequestFactory().post("/")
        assert authenticate(request, username="ana", password=people[0].password) is not None

    def test_nobody_is_changed_who_exists(self, tmp_path: Path) -> None:
        user = get_user_model().objects.create_user("ana", password="her own choice")
        ensure_demo_people(tmp_path)
        user.refresh_from_db()
        assert user.check_password("her own choice")
        assert not user.groups.exists()
