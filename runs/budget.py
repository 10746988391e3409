"""What a run may use up, counted from its own step rows: the same on every replay, for every worker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from runs.stops import NeedsAttention
from runs.turn import Turn


def must_allow(turn: Turn, kind: str) -> None:
    """Before a new step of `kind` (tool or model). Raises NeedsAttention when the budget is used up.

    Costs count as far as somebody knows the price of a request; a limit is met when the sum reaches it.
    """
    for sentence in _used_up(turn, kind):
        raise turn.stop(NeedsAttention("budget", sentence))


def _used_up(turn: Turn, kind: str) -> Iterator[str]:
    budget = turn.budget
    if kind == "tool" and budget.tool_calls is not None and turn.count("tool") >= budget.tool_calls:
        yield f"The budget of {budget.tool_calls} tool calls is used up."
    if kind == "model" and budget.model_requests is not None and turn.count("model") >= budget.model_requests:
        yield f"The budget of {budget.model_requests} model requests is used up."
    if kind == "model" and budget.cost_usd is not None and _cost(turn) >= Decimal(str(budget.cost_usd)):
        yield f"The budget of {budget.cost_usd} US dollars is used up."
    if budget.days is not None and turn.now() > turn.run.created_at + timedelta(days=budget.days):
        yield f"The run has taken longer than the {budget.days:g} days of its budget."


def _cost(turn: Turn) -> Decimal:
    return sum((step.cost for step in turn.steps.values() if step.cost is not None), Decimal(0))
