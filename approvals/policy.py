"""Who must sign what: rules over declared facts, decided without clock, database or side effect.

Rules are tried in their order and the first that fits decides; where none fits, the effect and the risk of
the tool do. A fact that nobody declared can only make things stricter: a rule that lets calls pass does not
fit then, a rule that asks a person does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runs.gate import Next, ProposedCall
from tools.effects import Effect, Risk

DEFAULT_NAME = "default"
DEFAULT_DEADLINE = timedelta(hours=24)
MAX_QUORUM = 9
MAX_DEADLINE = timedelta(days=366)
CHANGES_THE_WORLD = (Effect.WRITE, Effect.IRREVERSIBLE)


class Tier(StrEnum):
    """What a policy asks for."""

    AUTO = "auto"  # the call may go on
    REVIEW = "review"  # people must decide
    STOP = "stop"  # the call may not be made

    @property
    def strictness(self) -> int:
        return list(Tier).index(self)


class Amount(BaseModel):
    """Bounds on the money that a call moves, in one currency; direction does not matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    more_than: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None
    at_most: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Amount:
        if self.more_than is None and self.at_most is None:
            raise ValueError("give more_than, at_most or both")
        if self.more_than is not None and self.at_most is not None and self.more_than >= self.at_most:
            raise ValueError("more_than must be less than at_most")
        return self

    def holds(self, amount: Decimal | None, currency: str) -> bool | None:
        """Whether `amount` lies within the bounds; None when it is unknown or in another currency."""
        if amount is None or currency != self.currency:
            return None
        size = abs(amount)
        above = self.more_than is None or size > self.more_than
        below = self.at_most is None or size <= self.at_most
        return above and below


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Conditions(BaseModel):
    """When a policy applies. What is left out does not matter, with one exception: without `effects` a policy
    is about calls that change the world, so one that is about reads or drafts must say so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    risks: tuple[Risk, ...] = ()
    workflows: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    amount: Amount | None = None
    confidence_below: Share | None = None
    confidence_at_least: Share | None = None
    untrusted: bool | None = None
    suspicious: bool | None = None

    @property
    def covers(self) -> tuple[Effect, ...]:
        """The effects that this is about."""
        return self.effects or CHANGES_THE_WORLD

    def as_json(self) -> dict[str, Any]:
        """What a row keeps: only the conditions that were given."""
        kept: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return kept

    def hold(self, facts: Facts) -> bool | None:
        """Whether all of it is true of `facts`; None when it hangs on something unknown."""
        answers = (
            facts.effect in self.covers,
            not self.tools or facts.tool in self.tools,
            not self.risks or facts.risk in self.risks,
            not self.workflows or facts.workflow in self.workflows,
            not self.agents or facts.agent in self.agents,
            self.amount is None or self.amount.holds(facts.amount, facts.currency),
            _below(facts.confidence, self.confidence_below),
            _at_least(facts.confidence, self.confidence_at_least),
            _same(facts.untrusted, self.untrusted),
            _same(facts.suspicious, self.suspicious),
        )
        if False in answers:
            return False
        return None if None in answers else True


@dataclass(frozen=True)
class Facts:
    """What policies may ask about a call. None and empty text mean that nobody declared it."""

    tool: str
    effect: Effect
    risk: Risk
    workflow: str = ""
    agent: str = ""
    amount: Decimal | None = None
    currency: str = ""
    confidence: float | None = None
    untrusted: bool | None = None
    suspicious: bool | None = None


@dataclass(frozen=True)
class Rule:
    """One version of one policy. `conditions` None: they cannot be read, so nobody knows whether it fits."""

    name: str
    version: int
    tier: Tier
    conditions: Conditions | None
    order: int = 100
    group_id: int | None = None
    group: str = ""
    quorum: int = 1
    deadline: timedelta = DEFAULT_DEADLINE
    on_expiry: Next = Next.STOP

    @property
    def ref(self) -> str:
        """How records name it, such as ``refunds v3``."""
        return f"{self.name} v{self.version}"

    @property
    def strictness(self) -> tuple[int, int, Decimal]:
        bound = self.conditions.amount.more_than if self.conditions and self.conditions.amount else None
        return self.tier.strictness, self.quorum, bound or Decimal(0)


@dataclass(frozen=True)
class Requirement:
    """What must be there before a call may go on: the tier, and for review who, how many and by when."""

    tier: Tier
    policy_name: str
    policy_version: int
    group_id: int | None = None
    group: str = ""
    quorum: int = 1
    deadline: timedelta = DEFAULT_DEADLINE
    on_expiry: Next = Next.STOP
    because: str = ""

    @property
    def policy(self) -> str:
        """The policy and its version, such as ``refunds v3``."""
        return f"{self.policy_name} v{self.policy_version}"

    def expires_at(self, opened_at: datetime) -> datetime:
        """Until when people may decide, for a request opened at `opened_at`."""
        return opened_at + self.deadline


def decide(facts: Facts, rules: Iterable[Rule]) -> Requirement:
    """What `rules` ask for; where none fits, what effect and risk ask for.

    An irreversible call is never ``auto``, whatever a rule says. When a rule fits only perhaps, the strictest
    of it and those after it, up to the first sure one, decides.
    """
    candidates: list[tuple[Rule, bool | None]] = []
    for rule in sorted(rules, key=lambda rule: (rule.order, rule.name)):
        fits = _fits(rule, facts)
        if fits is not False:
            candidates.append((rule, fits))
        if fits:
            break
    else:
        candidates.append((default_rule(facts), True))
    # max() keeps the first of equals, so the order of the rules breaks ties.
    rule, fits = max(candidates, key=lambda candidate: candidate[0].strictness)
    return _requirement(rule, facts, sure=bool(fits))


def default_rule(facts: Facts) -> Rule:
    """What holds where no policy fits: reads, drafts and low-risk writes pass, people decide the rest."""
    free = facts.effect in (Effect.READ, Effect.DRAFT)
    small = facts.effect is Effect.WRITE and facts.risk is Risk.LOW
    return Rule(DEFAULT_NAME, 1, Tier.AUTO if free or small else Tier.REVIEW, Conditions())


def facts_of(call: ProposedCall) -> Facts:
    """The facts about `call`, read strictly: what is not plainly a number, a text, yes or no is unknown."""
    declared = call.facts
    return Facts(
        tool=call.tool.name,
        effect=Effect(call.tool.effect),
        risk=Risk(call.tool.risk),
        workflow=call.workflow,
        agent=call.agent,
        amount=_amount(declared.get("amount")),
        currency=_currency(declared),
        confidence=_share(call.confidence),
        untrusted=_flag(declared, "untrusted"),
        suspicious=_flag(declared, "suspicious"),
    )


def problems(tier: Tier, conditions: Conditions, quorum: int, deadline_seconds: float) -> dict[str, str]:
    """Why a policy cannot stand, by field of its row, each with its cure; empty when it can."""
    found: dict[str, str] = {}
    if tier is Tier.AUTO and Effect.IRREVERSIBLE in conditions.covers:
        found["conditions"] = (
            "What is irreversible always needs a person. Name the effects that may pass by themselves, "
            'such as "effects": ["write"].'
        )
    if not 1 <= quorum <= MAX_QUORUM:
        found["quorum"] = f"Ask for at least 1 and at most {MAX_QUORUM} people."
    if not 1 <= deadline_seconds <= MAX_DEADLINE.total_seconds():
        found["deadline_seconds"] = (
            f"Give people at least a second and at most {MAX_DEADLINE.days} days to decide."
        )
    return found


def _fits(rule: Rule, facts: Facts) -> bool | None:
    fits = rule.conditions.hold(facts) if rule.conditions is not None else None
    if rule.tier is not Tier.AUTO:
        return fits
    # Only what is exactly true lets a call pass, and nothing lets an irreversible one pass.
    return fits is True and facts.effect is not Effect.IRREVERSIBLE


def _requirement(rule: Rule, facts: Facts, *, sure: bool) -> Requirement:
    if rule.name == DEFAULT_NAME:
        because = f"No policy is about this call, and it is {facts.effect} with {facts.risk} risk."
    elif sure:
        because = f"The policy {rule.ref} applies."
    else:
        because = f"The policy {rule.ref} may apply: not everything it asks about is known."
    return Requirement(
        tier=rule.tier,
        policy_name=rule.name,
        policy_version=rule.version,
        group_id=rule.group_id,
        group=rule.group,
        quorum=rule.quorum,
        deadline=rule.deadline,
        on_expiry=rule.on_expiry,
        because=because,
    )


def _below(value: float | None, bound: float | None) -> bool | None:
    if bound is None:
        return True
    return None if value is None else value < bound


def _at_least(value: float | None, bound: float | None) -> bool | None:
    if bound is None:
        return True
    return None if value is None else value >= bound


def _same(value: bool | None, wanted: bool | None) -> bool | None:
    if wanted is None:
        return True
    return None if value is None else value is wanted


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _currency(declared: Mapping[str, Any]) -> str:
    value = declared.get("currency")
    return value if isinstance(value, str) else ""


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def _flag(declared: Mapping[str, Any], name: str) -> bool | None:
    value = declared.get(name)
    return value if isinstance(value, bool) else None
