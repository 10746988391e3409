"""What is at stake with a call in doubt: the amount that its tool declares, and when it takes two people."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.conf import settings

from tools import ports, registry
from tools.models import Inquiry, ToolCall
from tools.values import cents

log = logging.getLogger(__name__)
_MOST = Decimal(10) ** 12


@dataclass(frozen=True)
class Stake:
    """The size of an amount; None when the tool declares none, or nobody can say it any more."""

    amount: Decimal | None = None
    currency: str = ""

    def __str__(self) -> str:
        return "" if self.amount is None else f"{self.amount:,.2f} {self.currency}".strip()


def stake_of(call: ToolCall) -> Stake:
    """What is on record about `call`, or else what its tool's facts say now. They may touch the outside:
    never ask in a transaction.
    """
    known = Inquiry.objects.filter(pk=call.pk).first()
    return declared_stake(call) if known is None else Stake(known.amount, known.currency)


def declared_stake(call: ToolCall) -> Stake:
    """What the facts of its tool say about `call`; nothing where they cannot be asked."""
    arguments = ports.arguments_of(call)
    if arguments is None:
        return Stake()
    try:
        tool = registry.get(call.tool)
        facts = tool.declared_facts(tool.call(arguments, call.key, call.run_id, call.step_id))
    except Exception:
        # They are users' code, and may break in any way: then the amount is unknown, which is the stricter.
        log.warning("the facts of a call in doubt cannot be asked", extra={"call": call.pk}, exc_info=True)
        return Stake()
    return _read(facts)


def _read(facts: Mapping[str, Any]) -> Stake:
    amount, currency = facts.get("amount"), facts.get("currency")
    if isinstance(amount, bool) or not isinstance(amount, str | int | float):
        return Stake()
    try:
        size = abs(cents(str(amount)))
    except (InvalidOperation, ValueError):
        return Stake()
    if not size.is_finite() or size >= _MOST:
        return Stake()
    return Stake(size, currency[:8] if isinstance(currency, str) else "")


def record_stake(call: ToolCall, at: datetime) -> None:
    """Put on record what is at stake with `call`, unless it is; its lookup may be asked from `at`."""
    stake = declared_stake(call)
    row = Inquiry(call_id=call.pk, amount=stake.amount, currency=stake.currency, look_at=at)
    Inquiry.objects.bulk_create([row], ignore_conflicts=True)


def needs_two(stake: Stake) -> bool:
    """Whether two people must agree about a call with this `stake`.

    While a limit is set, an amount that is unknown, or in another currency, counts as above it.
    """
    limit = settings.HOLDPOINT_TWO_PEOPLE_ABOVE
    if limit is None:
        return False
    most, currency = limit
    return stake.amount is None or stake.currency != currency or stake.amount > most
