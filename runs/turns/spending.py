"""What a run has used up so far, kept as its steps begin and end: asking costs the same at any length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from runs.models import Step
from runs.workflow import Budget

#: Measures that only steps add to; time is looked at by the clock instead.
COUNTED = ("model_requests", "tool_calls", "tokens", "cost_usd", "retries")
WARN_AT = Decimal("0.8")


@dataclass
class Spent:
    """Sums over the steps of one run. `limits` are the budget and what a person granted beyond it."""

    limits: dict[str, Decimal] = field(default_factory=dict)
    used: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(COUNTED, Decimal(0)))
    same: Counter[str] = field(default_factory=Counter)  # tool calls by what they ask for

    @classmethod
    def of(cls, steps: Iterable[Step], budget: Budget, granted: Mapping[str, float]) -> Spent:
        """What the recorded steps add up to."""
        spent = cls(limits=limits_of(budget, granted))
        for step in steps:
            spent.begun(step)
            spent.again(step.attempt - 1)
            spent.ended(step)
        return spent

    def begun(self, step: Step) -> list[str]:
        """A new step; the measures of which more than four fifths are used up from now on."""
        if step.kind == "tool":
            self.same[step.fingerprint] += 1
            return self._add("tool_calls", 1)
        return self._add("model_requests", 1) if step.kind == "model" else []

    def again(self, attempts: int = 1) -> list[str]:
        """Further attempts of a step."""
        return self._add("retries", attempts)

    def ended(self, step: Step) -> list[str]:
        """A step that has ended, with what it cost as far as somebody knows."""
        if not (step.cost or step.input_tokens or step.output_tokens):
            return []
        tokens = self._add("tokens", step.input_tokens + step.output_tokens)
        return tokens + (self._add("cost_usd", step.cost) if step.cost else [])

    def over(self, measure: str) -> bool:
        """Whether nothing is left of `measure`."""
        return measure in self.limits and self.used[measure] >= self.limits[measure]

    def _add(self, measure: str, amount: Decimal | int) -> list[str]:
        before = self.used[measure]
        self.used[measure] = after = before + amount
        limit = self.limits.get(measure)
        return [measure] if limit is not None and before < limit * WARN_AT <= after else []


def limits_of(budget: Budget, granted: Mapping[str, float]) -> dict[str, Decimal]:
    """The limit of every counted measure that has one."""
    limits = {}
    for measure in COUNTED:
        limit = getattr(budget, measure)
        if limit is not None:
            limits[measure] = Decimal(str(limit)) + Decimal(str(granted.get(measure, 0)))
    return limits
