"""Calls in doubt as people read of them: what is at stake, what was said and what the lookup says. Reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, OuterRef, Subquery

from tools.models import Inquiry, ToolCall
from tools.said import Standing, standings_of
from tools.stakes import Stake, needs_two
from tools.unknown import too_early


@dataclass(frozen=True)
class InDoubt:
    """One call in doubt, with all that is on record about it."""

    call: ToolCall
    inquiry: Inquiry | None
    standing: Standing

    @property
    def stake(self) -> Stake:
        """What is at stake, as far as it is on record yet."""
        known = self.inquiry
        return Stake() if known is None else Stake(known.amount, known.currency)

    @property
    def two(self) -> bool:
        """Whether two people must agree."""
        return needs_two(self.stake)

    def early(self, now: datetime) -> bool:
        """Whether it may still be sent, so that nobody's answer is taken."""
        return bool(too_early(self.call, now))


def in_doubt(most: int) -> list[InDoubt]:
    """So many calls in doubt: those with the most money at risk first, then the oldest."""
    amount = Subquery(Inquiry.objects.filter(pk=OuterRef("pk")).values("amount"))
    rows = ToolCall.objects.unknown().annotate(at_risk=amount)
    return about(list(rows.order_by(F("at_risk").desc(nulls_last=True), "started_at", "id")[:most]))


def about(calls: list[ToolCall]) -> list[InDoubt]:
    """What is on record about each of `calls`, in two queries."""
    inquiries = Inquiry.objects.in_bulk([call.pk for call in calls])
    said = standings_of(call.pk for call in calls)
    return [InDoubt(call, inquiries.get(call.pk), said[call.pk]) for call in calls]
