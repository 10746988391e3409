"""Who must sign what: tables, and that nothing irreversible is ever automatic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from approvals.policy import Amount, Conditions, Facts, Rule, Tier, decide, facts_of, problems
from runs.gate import Next
from tests.approvals.conftest import Proposed
from tools.effects import Effect, Risk


def facts(**known: object) -> Facts:
    given: dict[str, object] = {"tool": "pay_back", "effect": Effect.WRITE, "risk": Risk.HIGH} | known
    return Facts(**given)  # type: ignore[arg-type]


def rule(name: str = "r", tier: Tier = Tier.REVIEW, **more: object) -> Rule:
    order = more.pop("order", 100)
    quorum = more.pop("quorum", 1)
    return Rule(name, 1, tier, Conditions(**more), order=order, quorum=quorum)  # type: ignore[arg-type]


EUR_OVER_100 = Amount(currency="EUR", more_than=Decimal(100))
EUR_UP_TO_100 = Amount(currency="EUR", at_most=Decimal(100))


class TestWithoutPolicies:
    @pytest.mark.parametrize(
        ("effect", "risk", "tier"),
        [
            *[(effect, risk, Tier.AUTO) for effect in (Effect.READ, Effect.DRAFT) for risk in Risk],
            (Effect.WRITE, Risk.LOW, Tier.AUTO),
            (Effect.WRITE, Risk.MEDIUM, Tier.REVIEW),
            (Effect.WRITE, Risk.HIGH, Tier.REVIEW),
            (Effect.WRITE, Risk.CRITICAL, Tier.REVIEW),
            *[(Effect.IRREVERSIBLE, risk, Tier.REVIEW) for risk in Risk],
        ],
    )
    def test_effect_and_risk_decide(self, effect: Effect, risk: Risk, tier: Tier) -> None:
        requirement = decide(facts(effect=effect, risk=risk), [])
        assert (requirement.tier, requirement.policy) == (tier, "default v1")
        assert requirement.on_expiry is Next.STOP

    def test_the_deadline_counts_from_the_opening(self) -> None:
        opened_at = datetime(2026, 1, 1, tzinfo=UTC)
        assert decide(facts(), []).expires_at(opened_at) == opened_at + timedelta(hours=24)


class TestOrder:
    def test_the_lowest_number_that_fits_decides(self) -> None:
        rules = [rule("late", Tier.STOP, order=2), rule("early", Tier.AUTO, order=1, effects=["write"])]
        assert decide(facts(), rules).policy == "early v1"

    def test_one_that_does_not_fit_is_passed_over(self) -> None:
        rules = [rule("other", Tier.STOP, order=1, tools=["delete"]), rule("all", order=2)]
        assert decide(facts(), rules).policy == "all v1"

    def test_names_break_ties_whatever_the_order_of_rows(self) -> None:
        rules = [rule("b"), rule("a", Tier.STOP)]
        assert decide(facts(), rules) == decide(facts(), rules[::-1])
        assert decide(facts(), rules).policy == "a v1"


class TestConditions:
    @pytest.mark.parametrize(
        ("conditions", "known", "holds"),
        [
            ({}, {}, True),
            ({}, {"effect": Effect.READ}, False),  # no effects named: what changes the world
            ({"effects": ["read"]}, {"effect": Effect.READ}, True),
            ({"tools": ["pay_back"]}, {}, True),
            ({"tools": ["pay"]}, {}, False),  # exact, no parts of names
            ({"risks": ["low", "high"]}, {}, True),
            ({"risks": ["low"]}, {}, False),
            ({"workflows": ["shop.refund"]}, {"workflow": "shop.refund"}, True),
            ({"agents": ["analyst"]}, {"agent": ""}, False),
            ({"amount": EUR_OVER_100}, {"amount": Decimal("100.00"), "currency": "EUR"}, False),
            ({"amount": EUR_OVER_100}, {"amount": Decimal("100.01"), "currency": "EUR"}, True),
            (
                {"amount": EUR_OVER_100},
                {"amount": Decimal("-500"), "currency": "EUR"},
                True,
            ),  # direction is no matter
            ({"amount": EUR_UP_TO_100}, {"amount": Decimal("100"), "currency": "EUR"}, True),
            ({"amount": EUR_OVER_100}, {"amount": Decimal("500"), "currency": "USD"}, None),
            ({"amount": EUR_OVER_100}, {"amount": Decimal("500")}, None),
            ({"amount": EUR_OVER_100}, {}, None),
            ({"confidence_below": 0.7}, {"confidence": 0.69}, True),
            ({"confidence_below": 0.7}, {"confidence": 0.7}, False),
            ({"confidence_at_least": 0.7}, {"confidence": 0.7}, True),
            ({"confidence_at_least": 0.7}, {}, None),
            ({"suspicious": True}, {"suspicious": True}, True),
            ({"suspicious": False}, {"suspicious": True}, False),
            ({"untrusted": False}, {}, None),
            ({"untrusted": False, "tools": ["pay"]}, {}, False),  # sure of one no is enough
        ],
    )
    def test_they_hold_or_not_or_nobody_knows(
        self, conditions: dict[str, object], known: dict[str, object], holds: bool | None
    ) -> None:
        assert Conditions(**conditions).hold(facts(**known)) is holds  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"tool": ["pay_back"]},
            {"effects": ["sometimes"]},
            {"amount": {"currency": "euro", "more_than": "1"}},
            {"amount": {"currency": "EUR"}},
            {"amount": {"currency": "EUR", "more_than": "5", "at_most": "5"}},
            {"amount": {"currency": "EUR", "more_than": "NaN"}},
            {"confidence_below": 70},
            {"when": "amount > 100"},
        ],
    )
    def test_what_is_misspelt_or_senseless_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            Conditions.model_validate(wrong)

    def test_rows_keep_only_what_was_given_and_give_it_back(self) -> None:
        conditions = Conditions(tools=("pay_back",), amount=EUR_OVER_100)
        assert conditions.as_json() == {
            "tools": ["pay_back"],
            "amount": {"currency": "EUR", "more_than": "100"},
        }
        assert Conditions.model_validate(conditions.as_json()) == conditions


class TestUnknownFacts:
    def test_a_rule_that_lets_pass_does_not_fit(self) -> None:
        small = rule("small", Tier.AUTO, effects=["write"], amount=EUR_UP_TO_100)
        assert decide(facts(), [small]).tier is Tier.REVIEW
        assert decide(facts(amount=Decimal(5), currency="EUR"), [small]).tier is Tier.AUTO

    def test_a_rule_that_asks_a_person_does(self) -> None:
        large = rule("large", amount=EUR_OVER_100)
        requirement = decide(facts(risk=Risk.LOW), [large])
        assert (requirement.tier, requirement.policy) == (Tier.REVIEW, "large v1")
        assert "may apply" in requirement.because

    def test_the_strictest_of_what_may_apply_decides(self) -> None:
        rules = [
            rule("desk", order=1, amount=EUR_UP_TO_100),
            rule("finance", order=2, amount=EUR_OVER_100, quorum=2),
            rule("all", Tier.AUTO, order=3, effects=["write"]),
        ]
        assert decide(facts(), rules).policy == "finance v1"

    def test_the_higher_bound_is_the_stricter(self) -> None:
        rules = [rule("desk", order=1, amount=EUR_UP_TO_100), rule("finance", order=2, amount=EUR_OVER_100)]
        assert decide(facts(), rules).policy == "finance v1"

    def test_a_rule_that_cannot_be_read_asks_a_person(self) -> None:
        broken = Rule("broken", 4, Tier.REVIEW, None)
        assert decide(facts(risk=Risk.LOW), [broken]).policy == "broken v4"


class TestIrreversible:
    def test_a_rule_that_would_let_it_pass_is_ignored(self) -> None:
        careless = rule("careless", Tier.AUTO, effects=["write", "irreversible"])
        assert decide(facts(effect=Effect.IRREVERSIBLE, risk=Risk.LOW), [careless]).policy == "default v1"

    @given(
        rules=st.lists(
            st.builds(
                Rule,
                name=st.sampled_from("abcd"),
                version=st.integers(1, 3),
                tier=st.sampled_from(Tier),
                conditions=st.none()
                | st.builds(
                    Conditions,
                    effects=st.lists(st.sampled_from(Effect)).map(tuple),
                    risks=st.lists(st.sampled_from(Risk)).map(tuple),
                    amount=st.none() | st.just(EUR_OVER_100) | st.just(EUR_UP_TO_100),
                    suspicious=st.none() | st.booleans(),
                ),
                order=st.integers(0, 3),
            ),
            max_size=6,
        ),
        risk=st.sampled_from(Risk),
        amount=st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=2),
        suspicious=st.none() | st.booleans(),
    )
    def test_it_is_never_automatic(
        self, rules: list[Rule], risk: Risk, amount: Decimal | None, suspicious: bool | None
    ) -> None:
        known = facts(
            effect=Effect.IRREVERSIBLE, risk=risk, amount=amount, currency="EUR", suspicious=suspicious
        )
        assert decide(known, rules).tier is not Tier.AUTO

    @pytest.mark.parametrize("effects", [(), ("irreversible",), ("write", "irreversible")])
    def test_a_policy_that_says_so_cannot_stand(self, effects: tuple[Effect, ...]) -> None:
        found = problems(Tier.AUTO, Conditions(effects=effects), 1, 3600)
        assert "always needs a person" in found["conditions"]
        assert problems(Tier.REVIEW, Conditions(effects=effects), 1, 3600) == {}


class TestFacts:
    def test_they_come_from_tool_and_call(self, call: Proposed) -> None:
        known = facts_of(call(confidence=0.8, agent="analyst"))
        assert (known.amount, known.currency, known.confidence) == (Decimal("120.00"), "EUR", 0.8)
        assert (known.tool, known.agent, known.workflow) == ("pay_back", "analyst", "shop.refund")

    @pytest.mark.parametrize(
        ("declared", "amount"),
        [
            ("12.50", Decimal("12.50")),
            (12.5, Decimal("12.5")),
            (0, Decimal(0)),
            (True, None),
            ("a lot", None),
            ("NaN", None),
            (float("inf"), None),
            (["12.50"], None),
            (None, None),
        ],
    )
    def test_an_amount_that_is_no_number_is_unknown(
        self, call: Proposed, declared: object, amount: Decimal | None
    ) -> None:
        assert facts_of(call(facts={"amount": declared})).amount == amount

    @pytest.mark.parametrize(("declared", "flag"), [(True, True), (False, False), (1, None), ("no", None)])
    def test_only_yes_and_no_are_flags(self, call: Proposed, declared: object, flag: bool | None) -> None:
        assert facts_of(call(facts={"suspicious": declared})).suspicious is flag

    @pytest.mark.parametrize("confidence", [None, -0.1, 1.1, float("nan"), True])
    def test_a_confidence_outside_0_to_1_is_unknown(self, call: Proposed, confidence: float | None) -> None:
        assert facts_of(call(confidence=confidence)).confidence is None
