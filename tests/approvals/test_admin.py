"""The admin: a window on approvals and decisions, a desk for policies."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from approvals import rulebook, services
from approvals.models import Approval, Decision, Policy
from tests.approvals.conftest import Asked, People

TERMS = {
    "name": "refunds",
    "order": "10",
    "purpose": "Refunds",
    "conditions": '{"tools": ["pay_back"]}',
    "tier": "review",
    "group": "",
    "quorum": "1",
    "deadline_seconds": "3600",
    "on_expiry": "stop",
    "note": "Because.",
}


@pytest.fixture
def root(people: People, client: Client) -> Client:
    client.force_login(people.root)
    return client


@pytest.fixture
def risk(people: People) -> Client:
    """A risk owner: staff, with the permissions on policies and no others."""
    owner = User.objects.create_user("risk", password="x", is_staff=True)
    owner.user_permissions.set(
        Permission.objects.filter(codename__in=["add_policy", "change_policy", "view_policy"])
    )
    client = Client()
    client.force_login(owner)
    return client


class TestWindow:
    def test_everything_can_be_seen(self, root: Client, ask: Asked, people: People) -> None:
        approval = ask()
        decision = services.decide(approval.pk, by=people.bea, verdict="approve", digest=approval.digest)
        rulebook.revise("refunds", {}, actor="user:risk")
        for model, pk in (
            ("approval", approval.pk),
            ("decision", decision.pk),
            ("policy", Policy.objects.get().pk),
        ):
            assert root.get(reverse(f"admin:approvals_{model}_changelist")).status_code == 200
            page = root.get(reverse(f"admin:approvals_{model}_change", args=[pk]))
            assert page.status_code == 200
        page = root.get(reverse("admin:approvals_approval_history", args=[approval.pk]))
        assert page.status_code == 200
        assert b"approved" in page.content

    @pytest.mark.parametrize("field", [f.name for f in Approval._meta.concrete_fields])
    def test_no_field_of_an_approval_can_be_posted(self, root: Client, ask: Asked, field: str) -> None:
        approval = ask()
        before = Approval.objects.filter(pk=approval.pk).values().get()
        url = reverse("admin:approvals_approval_change", args=[approval.pk])
        assert root.post(url, {field: "approved", "_save": "Save"}).status_code == 403
        assert Approval.objects.filter(pk=approval.pk).values().get() == before

    def test_nothing_can_be_added_or_deleted(self, root: Client, ask: Asked, people: People) -> None:
        approval = ask()
        decision = services.decide(approval.pk, by=people.bea, verdict="approve", digest=approval.digest)
        for model, pk in (("approval", approval.pk), ("decision", decision.pk)):
            assert root.post(reverse(f"admin:approvals_{model}_add"), {}).status_code == 403
            deleted = root.post(reverse(f"admin:approvals_{model}_delete", args=[pk]), {"post": "yes"})
            assert deleted.status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": approval.pk, "post": "yes"}
        root.post(reverse("admin:approvals_approval_changelist"), chosen)
        assert Approval.objects.count() == Decision.objects.count() == 1


class TestDesk:
    def test_a_new_policy_is_version_one(self, risk: Client) -> None:
        assert risk.post(reverse("admin:approvals_policy_add"), TERMS).status_code == 302
        row = Policy.objects.get()
        assert (row.ref, row.active, row.made_by) == ("refunds v1", True, "user:risk")

    def test_saving_a_change_makes_a_new_version(self, risk: Client) -> None:
        first = rulebook.revise("refunds", {}, actor="user:risk")
        url = reverse("admin:approvals_policy_change", args=[first.pk])
        assert risk.post(url, TERMS | {"quorum": "2"}).status_code == 302
        rows = Policy.objects.order_by("version").values_list("version", "active", "quorum", "note")
        assert list(rows) == [(1, False, 1, ""), (2, True, 2, "Because.")]
        assert risk.post(url, TERMS).status_code == 403  # an old version stays as it was

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"tier": "auto"}, b"always needs a person"),
            ({"conditions": "{"}, b"valid JSON"),
            ({"conditions": '{"tols": []}'}, b"tols"),
            ({"quorum": "0"}, b"at least 1"),
            ({"on_expiry": "approve"}, b"valid choice"),
        ],
    )
    def test_what_cannot_stand_is_told_beside_the_field(
        self, risk: Client, wrong: dict[str, str], says: bytes
    ) -> None:
        page = risk.post(reverse("admin:approvals_policy_add"), TERMS | wrong)
        assert page.status_code == 200
        assert says in page.content
        assert not Policy.objects.exists()

    def test_an_old_version_is_put_in_force(self, risk: Client) -> None:
        first = rulebook.revise("refunds", {}, actor="user:risk")
        rulebook.revise("refunds", {"quorum": 2}, actor="user:risk")
        chosen = {"action": "put_in_force", "_selected_action": first.pk}
        page = risk.post(reverse("admin:approvals_policy_changelist"), chosen, follow=True)
        assert b"refunds v1 is in force" in page.content
        assert Policy.objects.get(active=True) == first

    def test_a_name_that_is_taken(self, risk: Client) -> None:
        rulebook.revise("refunds", {}, actor="user:risk")
        page = risk.post(reverse("admin:approvals_policy_add"), TERMS)
        assert b"change that one instead" in page.content
        assert Policy.objects.count() == 1

    def test_no_version_is_ever_deleted(self, root: Client) -> None:
        row = rulebook.revise("refunds", {}, actor="user:risk")
        assert (
            root.post(reverse("admin:approvals_policy_delete", args=[row.pk]), {"post": "yes"}).status_code
            == 403
        )
        assert Policy.objects.count() == 1
