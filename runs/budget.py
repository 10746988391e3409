"""What a run may use up, counted from its own step rows: the same on every replay, for every worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db.models import Sum

from runs.models import Run, Step
from runs.states import RunState
from runs.stops import NeedsAttention

if TYPE_CHECKING:
    from runs.agent import AgentDefinition
    from runs.turns.turn import Turn

#: Which measures are looked at before a new step of a kind.
MEASURES_OF = {"tool": ("tool_calls", "retries"), "model": ("model_requests", "tokens", "cost_usd")}
WORDS = {
    "model_requests": "model requests",
    "tool_calls": "tool calls",
    "tokens": "tokens",
    "cost_usd": "US dollars",
    "retries": "retries",
    "days": "days",
    "active_seconds": "seconds of work",
    "cost_usd_a_day": "US dollars a day",
}
NOTICED_AT = 5  # the same call with the same arguments so often in one run is worth a line
DAY_KNOWN_FOR = 5.0  # seconds for which the sum of a day is not asked for again
USUAL_KNOWN_FOR = 60.0  # seconds
USUAL_RUNS, USUAL_NEEDS = 50, 10  # runs that say what is usual, and how many it takes
UNUSUAL = 3  # times the usual cost is worth a line
KNOWN = 100  # sums kept in memory


def must_allow(turn: Turn, kind: str, agent: AgentDefinition | None = None) -> None:
    """Before a new step of `kind` (tool or model). Raises NeedsAttention when a budget is used up: the run's
    own, the day's of its workflow, or the day's of the `agent` that asks a model.

    Costs count as far as somebody knows the price of a request; a limit is met when the sum reaches it.
    """
    for measure, limit, whose in _used_up(turn, kind, agent):
        sentence = f"The budget of {plain(limit)} {WORDS[measure]}{whose} is used up."
        raise turn.stop(NeedsAttention("budget", sentence, measure=measure, limit=float(limit)))


def _used_up(turn: Turn, kind: str, agent: AgentDefinition | None) -> Iterator[tuple[str, Decimal, str]]:
    for measure in MEASURES_OF.get(kind, ()):
        if turn.spent.over(measure):
            yield measure, turn.spent.limits[measure], ""
    yield from _time_used_up(turn)
    if kind == "model":
        yield from _day_used_up(turn, agent)


def _time_used_up(turn: Turn) -> Iterator[tuple[str, Decimal, str]]:
    days, seconds = _limit(turn, "days"), _limit(turn, "active_seconds")
    if days is not None and turn.now() > turn.run.created_at + timedelta(days=float(days)):
        yield "days", days, ""
    if seconds is not None and turn.active_ms() > seconds * 1000:
        yield "active_seconds", seconds, ""


def _day_used_up(turn: Turn, agent: AgentDefinition | None) -> Iterator[tuple[str, Decimal, str]]:
    limit = _limit(turn, "cost_usd_a_day")
    if limit is not None and _paid_today({"run__workflow": turn.run.workflow}, turn.now()) >= limit:
        yield "cost_usd_a_day", limit, f" of all runs of {turn.run.workflow}"
    if agent is None or agent.limits.cost_usd_a_day is None:
        return
    limit = agent.limits.cost_usd_a_day + _granted(turn, "cost_usd_a_day")
    if _paid_today({"name": agent.name}, turn.now()) >= limit:
        yield "cost_usd_a_day", limit, f" of agent {agent.name}"


def _limit(turn: Turn, measure: str) -> Decimal | None:
    limit = getattr(turn.budget, measure)
    return None if limit is None else Decimal(str(limit)) + _granted(turn, measure)


def _granted(turn: Turn, measure: str) -> Decimal:
    return Decimal(str((turn.run.granted or {}).get(measure, 0)))


_known: dict[tuple[str, ...], tuple[float, Decimal]] = {}


def _paid_today(whose: dict[str, str], now: datetime) -> Decimal:
    """What model requests have cost since midnight UTC; a few seconds old at most."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    key = (*whose.keys(), *whose.values(), day.isoformat())
    asked_at, known = _known.get(key, (None, Decimal(0)))
    if asked_at is not None and time.monotonic() - asked_at < DAY_KNOWN_FOR:
        return known
    paid = Step.objects.filter(kind="model", started_at__gte=day, **whose).aggregate(sum=Sum("cost"))["sum"]
    if len(_known) > KNOWN:
        _known.clear()
    _known[key] = (time.monotonic(), paid or Decimal(0))
    return _known[key][1]


def usual_cost(workflow: str) -> Decimal | None:
    """What the last runs of `workflow` that succeeded cost on average, in US dollars; None with too few."""
    asked_at, known = _usual.get(workflow, (None, None))
    if asked_at is not None and time.monotonic() - asked_at < USUAL_KNOWN_FOR:
        return known
    last = Run.objects.filter(state=RunState.SUCCEEDED, workflow=workflow).order_by("-created_at")
    ids = list(last.values_list("id", flat=True)[:USUAL_RUNS])
    paid = Step.objects.filter(run__in=ids).aggregate(sum=Sum("cost"))["sum"] or Decimal(0)
    known = paid / len(ids) if len(ids) >= USUAL_NEEDS else None
    _usual[workflow] = (time.monotonic(), known)
    return known


_usual: dict[str, tuple[float, Decimal | None]] = {}


def unusual(workflow: str, spent: Decimal, last: Decimal) -> str:
    """The line for the journal when the `last` step took a run far above what runs like it cost; else empty.

    `spent` is what the run has cost, the last step included.
    """
    usual = usual_cost(workflow)
    if not usual or not spent - last < usual * UNUSUAL <= spent:
        return ""
    return f"It has cost {spent:.4f} US dollars, more than {UNUSUAL} times what runs of {workflow} cost"


def plain(number: Decimal) -> str:
    """A number as people write it: 3 and not 3.0."""
    return f"{number.normalize():f}"


def repeats(name: str) -> str:
    """The line for the journal when one call is made again and again."""
    return f"{name} is called {NOTICED_AT} times with the same arguments"


def warning(measure: str, limit: Decimal) -> str:
    """The line for the journal when four fifths of a measure are used up."""
    return f"More than 80 % of the budget of {plain(limit)} {WORDS[measure]} is used up"
