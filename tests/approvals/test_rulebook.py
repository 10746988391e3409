"""Policies in versions: nothing is overwritten, one is in force, code never replaces a person's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction

from approvals import declared, queries, rulebook
from approvals.declared import Amount, PolicyError, policy
from approvals.models import Policy
from approvals.policy import Tier

pytestmark = pytest.mark.django_db
RISK = "user:risk"
SMALL: dict[str, Any] = {"tier": "auto", "conditions": {"effects": ["write"], "tools": ["pay_back"]}}


def versions(name: str = "refunds") -> list[tuple[int, bool, str]]:
    return list(Policy.objects.filter(name=name).order_by("version").values_list("version", "active", "tier"))


class TestVersions:
    def test_a_change_is_a_new_row(self) -> None:
        rulebook.revise("refunds", SMALL, actor=RISK, note="Small ones pass.")
        second = rulebook.revise("refunds", {"tier": "review"}, actor=RISK, note="No more.")
        assert versions() == [(1, False, "auto"), (2, True, "review")]
        assert second.ref == "refunds v2"
        assert second.conditions == SMALL["conditions"]  # what is left out stays
        assert [rule.ref for rule in queries.rules_in_force()] == ["refunds v2"]

    def test_history_says_who_and_when(self) -> None:
        first = rulebook.revise("refunds", SMALL, actor=RISK)
        rulebook.revise("refunds", {"tier": "review"}, actor="user:ana")
        rows = first.history.order_by("history_id").values_list("active", "actor")
        assert list(rows) == [(False, RISK), (True, RISK), (False, "user:ana")]

    def test_an_old_version_can_be_put_in_force_again(self) -> None:
        first = rulebook.revise("refunds", SMALL, actor=RISK)
        rulebook.revise("refunds", {"tier": "review"}, actor=RISK)
        assert rulebook.put_in_force(first.pk, actor=RISK).active
        assert rulebook.put_in_force(first.pk, actor=RISK).active
        assert versions() == [(1, True, "auto"), (2, False, "review")]

    @pytest.mark.parametrize(
        ("name", "terms", "field", "says"),
        [
            ("refunds", {"tier": "auto", "conditions": {}}, "conditions", "always needs a person"),
            (
                "refunds",
                {"tier": "auto", "conditions": {"effects": ["irreversible"]}},
                "conditions",
                "person",
            ),
            ("refunds", {"conditions": {"tols": ["a"]}}, "conditions", "tols"),
            ("refunds", {"conditions": []}, None, ""),
            ("refunds", {"conditions": "amount > 100"}, "conditions", ""),
            ("refunds", {"tier": "never"}, "tier", "never"),
            ("refunds", {"on_expiry": "approve"}, "on_expiry", "approve"),
            ("refunds", {"quorum": 0}, "quorum", "at least 1"),
            ("refunds", {"deadline_seconds": 0}, "deadline_seconds", "at least a second"),
            ("refunds", {"deadline_seconds": 10**18}, "deadline_seconds", "366 days"),
            ("default", {}, "name", "use another name"),
            ("two words", {}, "name", "valid"),
        ],
    )
    def test_what_cannot_stand_is_refused(
        self, name: str, terms: dict[str, Any], field: str | None, says: str
    ) -> None:
        rulebook.revise("refunds", SMALL, actor=RISK)
        if field is None:
            assert rulebook.revise(name, terms | {"tier": "review"}, actor=RISK).conditions == {}
            return
        with pytest.raises(ValidationError) as refusal:
            rulebook.revise(name, terms, actor=RISK)
        assert says in " ".join(refusal.value.message_dict[field])
        assert versions() == [(1, True, "auto")]


class TestTheDatabaseItselfRefuses:
    @pytest.fixture
    def row(self) -> Policy:
        return rulebook.revise("refunds", SMALL, actor=RISK)

    @pytest.mark.parametrize(
        "change",
        [
            {"covers_irreversible": True},
            {"on_expiry": "approve"},
            {"tier": "maybe"},
            {"quorum": 0},
            {"deadline_seconds": 0},
        ],
    )
    def test_what_must_never_be(self, row: Policy, change: dict[str, Any]) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Policy.objects.filter(pk=row.pk).update(**change)

    def test_two_versions_in_force(self, row: Policy) -> None:
        rulebook.revise("refunds", {"tier": "review"}, actor=RISK)
        with pytest.raises(IntegrityError), transaction.atomic():
            Policy.objects.filter(pk=row.pk).update(active=True)

    def test_saving_an_irreversible_auto_rule_without_asking_anybody(self, row: Policy) -> None:
        row.conditions = {"effects": ["write", "irreversible"]}
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save()


def test_a_row_that_cannot_be_read_asks_a_person() -> None:
    row = rulebook.revise("refunds", SMALL, actor=RISK)
    Policy.objects.filter(pk=row.pk).update(conditions={"written": "by hand"})
    (rule,) = queries.rules_in_force()
    assert (rule.tier, rule.conditions) == (Tier.REVIEW, None)


class TestDeclaredInCode:
    def test_it_works(self) -> None:
        policy(
            "refunds",
            tier="auto",
            tools=["pay_back"],
            effects=["write"],
            amount=Amount(currency="EUR", at_most="50"),  # type: ignore[arg-type]
            group="Finance",
            deadline=timedelta(hours=2),
        )
        (row,) = rulebook.install_declared()
        assert (row.ref, row.active, row.from_code) == ("refunds v1", True, True)
        assert row.conditions["amount"] == {"currency": "EUR", "at_most": "50"}
        assert (row.group, row.deadline) == (Group.objects.get(name="Finance"), timedelta(hours=2))
        assert rulebook.install_declared() == []

    def test_a_changed_declaration_is_a_new_version(self) -> None:
        self.declare("review")
        self.declare("stop")
        assert versions() == [(1, False, "review"), (2, True, "stop")]

    def test_a_persons_version_stays_in_force(self, caplog: pytest.LogCaptureFixture) -> None:
        self.declare("review")
        rulebook.revise("refunds", SMALL, actor=RISK)
        self.declare("stop")
        self.declare("stop")
        assert versions() == [(1, False, "review"), (2, True, "auto"), (3, False, "stop")]
        assert caplog.text.count("version 3 from code is not in force") == 1
        rulebook.put_in_force(Policy.objects.get(version=3).pk, actor=RISK)
        self.declare("auto", effects=["write"])
        assert versions()[2:] == [(3, False, "stop"), (4, True, "auto")]

    def test_one_that_is_gone_is_not_in_force_and_comes_back_as_it_was(self) -> None:
        self.declare("review")
        with declared.scratch():
            rulebook.install_declared()
        assert versions() == [(1, False, "review")]
        self.declare("review")
        assert versions() == [(1, True, "review")]

    def test_a_persons_version_outlives_the_declaration(self) -> None:
        self.declare("review")
        rulebook.revise("refunds", SMALL, actor=RISK)
        with declared.scratch():
            rulebook.install_declared()
        assert versions() == [(1, False, "review"), (2, True, "auto")]

    def test_migrate_installs_them(self) -> None:
        policy("refunds", tier="review")
        call_command("migrate", verbosity=0)
        assert versions() == [(1, True, "review")]

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"tier": "auto"}, "always needs a person"),
            ({"tier": "perhaps"}, "none of auto, review, stop"),
            ({"tier": "review", "tools": "pay_back"}, "takes a list"),
            ({"tier": "review", "effects": ["sometimes"]}, "effects"),
            ({"tier": "review", "on_expiry": "approve"}, "nothing is ever approved by waiting"),
            ({"tier": "review", "quorum": 0}, "at least 1"),
            ({"tier": "review", "name": "Two Words"}, "cannot be a policy's name"),
            ({"tier": "review", "name": "default"}, "cannot be a policy's name"),
        ],
    )
    def test_what_cannot_stand_is_refused_where_it_is_written(self, given: dict[str, Any], says: str) -> None:
        name = given.pop("name", "refunds")
        with pytest.raises(PolicyError, match=says):
            policy(name, **given)

    def test_two_of_one_name_are_refused(self) -> None:
        policy("refunds", tier="review")
        policy("refunds", tier="review")  # the same module, imported under two names
        with pytest.raises(PolicyError, match="two policies called refunds"):
            policy("refunds", tier="stop")

    @staticmethod
    def declare(tier: str, **more: Any) -> None:
        with declared.scratch():
            policy("refunds", tier=tier, **more)
            rulebook.install_declared()
