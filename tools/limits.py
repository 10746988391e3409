"""How many calls of a tool all workers together may begin, and have under way. Those beyond it stand in line.

Standing in line is a row and a moment: no worker sleeps. The rate is kept by the moments at which calls are
really begun (a generic cell rate, on the database's clock), so it holds however late a call comes for its
turn; in line each has a moment of its own, so that they do not all come at once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import Error, transaction
from django.db.models import Q, QuerySet

from tools import ports, registry
from tools.clock import db_now
from tools.contract import Tool
from tools.options import Limit
from tools.protection import Ticket, TicketState, ToolLimit

logger = logging.getLogger(__name__)

MARGIN = timedelta(seconds=30)  # beyond its timeout, until a call under way is given up
CALLED_UP = timedelta(seconds=60)  # within which a call whose turn it is must be begun
LOOK_AGAIN = timedelta(seconds=30)  # in line for a place: a call that was not called up asks by itself
FORGOTTEN = timedelta(hours=1)  # past its moment, a call in line that nobody asked for is struck off


@dataclass(frozen=True)
class Wait:
    """The call stands in line for `why`; `until` is the moment from which it is worth asking again."""

    until: datetime
    why: str
    has_moment: bool = True  # in line for the rate; otherwise for a place, which can become free at any time


def reserve(tool: Tool, key: str, run_id: str) -> Wait | None:
    """A turn for the call with `key`, right before it is begun; None when it may be begun now.

    Asking again changes nothing but the time: the call keeps its place in line, or its turn. `give_back` ends
    that; so does `MARGIN` after the tool's timeout. No transaction should be open: the row is locked.
    """
    limit = tool.limit
    if limit is None:
        return None
    with transaction.atomic():
        row, now = _locked(tool.name)
        ticket = _ticket(key, now)
        wait = _wait(tool, limit, row, ticket, key, now)
        if wait is None:
            _begin(tool, limit, row, ticket, key, run_id, now)
        else:
            _line_up(tool, ticket, key, run_id, wait, now)
        row.save()
    return wait


def give_back(tool: Tool, key: str) -> None:
    """The call with `key` is over, or was not begun: whoever stands first in line is called up."""
    if tool.limit is None or tool.limit.at_once is None:
        return
    try:
        _over(tool.name, tool.limit.at_once, key)
    except Error:
        logger.warning("%s keeps its place until it lapses", key, exc_info=True, extra={"tool": tool.name})


def hold_back(tool: Tool, seconds: float | None) -> None:
    """The other side asked for no call within so many seconds: no worker begins one before."""
    if tool.limit is None or not seconds or not seconds > 0:
        return
    try:
        with transaction.atomic():
            row, now = _locked(tool.name)
            until = now + timedelta(seconds=min(seconds, 86_400.0))
            row.held_until = max(until, row.held_until or until)
            row.save()
    except Error:
        logger.warning("nobody else was told to pause", exc_info=True, extra={"tool": tool.name})


def waiting_at(tool: str) -> int:
    """How many calls of the tool stand in line."""
    return Ticket.objects.filter(tool=tool, state=TicketState.WAITING).count()


def under_way_at(tool: str) -> int:
    """How many calls of the tool are under way, of those that a limit at once counts."""
    return _under_way(tool, db_now()).count()


def call_up() -> int:
    """A caretaker's round: free places go to those first in line, and who never comes is struck off."""
    now = db_now()
    lapsed = Ticket.objects.filter(until__lte=now)
    names = set(lapsed.values_list("tool", flat=True).distinct())
    names |= set(Ticket.objects.filter(state=TicketState.WAITING).values_list("tool", flat=True).distinct())
    called = 0
    for name in sorted(names):
        limit = _limit_of(name)
        if limit is None:
            called += _strike_off(name)
        elif limit.at_once is not None:
            called += _over(name, limit.at_once, "")
        else:
            called += lapsed.filter(tool=name).delete()[0]
    return called


def _limit_of(name: str) -> Limit | None:
    try:
        return registry.get(name).limit
    except registry.UnknownTool:
        return None


# Whose turn it is


def _ticket(key: str, now: datetime) -> Ticket | None:
    """What the call holds; one that has lapsed is nothing."""
    Ticket.objects.filter(pk=key, until__lte=now).delete()
    return Ticket.objects.filter(pk=key).first()


def _wait(
    tool: Tool, limit: Limit, row: ToolLimit, ticket: Ticket | None, key: str, now: datetime
) -> Wait | None:
    if row.held_until is not None and row.held_until > now:
        return Wait(row.held_until, f"{tool.title}: its other side asked for a pause")
    moment = _moment(limit, row, ticket, now)
    if moment > now:
        return Wait(moment, f"its turn: {limit.per_second:g} calls of {tool.title} may begin in a second")
    if limit.at_once is not None and not _has_place(tool.name, limit.at_once, ticket, now):
        why = f"a free place: {limit.at_once} calls of {tool.title} are under way"
        return Wait(now + LOOK_AGAIN, why, has_moment=False)
    return None


def _moment(limit: Limit, row: ToolLimit, ticket: Ticket | None, now: datetime) -> datetime:
    """When the rate lets this call begin; `now` when it does now. A new one is given its moment in line."""
    if limit.per_second is None:
        return now
    apart = timedelta(seconds=1 / limit.per_second)
    ahead = apart * (limit.burst - 1)
    free = max(now, row.started_to - ahead)
    if ticket is None:
        moment = max(free, row.planned_to - ahead)
    elif ticket.starts_at > now or free <= now:
        return max(now, ticket.starts_at)
    else:  # it comes late, as others do: one after the other again
        moment = free + apart * _before(ticket, now).count()
    if moment > now:
        row.planned_to = max(row.planned_to, row.started_to, moment + ahead) + apart
    return moment


def _has_place(tool: str, at_once: int, ticket: Ticket | None, now: datetime) -> bool:
    if ticket is not None and ticket.state == TicketState.GRANTED and ticket.until > now:
        return True
    before = _in_line(tool, now) if ticket is None else _before(ticket, now)
    return _under_way(tool, now).count() + before.count() < at_once


def _begin(
    tool: Tool, limit: Limit, row: ToolLimit, ticket: Ticket | None, key: str, run_id: str, now: datetime
) -> None:
    if limit.per_second is not None:
        row.started_to = max(now, row.started_to) + timedelta(seconds=1 / limit.per_second)
        row.planned_to = max(row.planned_to, row.started_to)
    if limit.at_once is None:
        if ticket is not None:
            ticket.delete()
        return
    ticket = ticket or Ticket(key=key, tool=tool.name, run_id=run_id, starts_at=now)
    if ticket.state == TicketState.WAITING:
        ticket.grant()
    ticket.until = now + timedelta(seconds=tool.timeout) + MARGIN
    ticket.save()


def _line_up(tool: Tool, ticket: Ticket | None, key: str, run_id: str, wait: Wait, now: datetime) -> None:
    moment = wait.until if wait.has_moment else now
    # Who comes late keeps the place in line that it had.
    ticket = ticket or Ticket(key=key, tool=tool.name, run_id=run_id, starts_at=moment)
    ticket.until = wait.until + (FORGOTTEN if ticket.state == TicketState.WAITING else CALLED_UP)
    ticket.save()


def _under_way(tool: str, now: datetime) -> QuerySet[Ticket]:
    return Ticket.objects.filter(tool=tool, state=TicketState.GRANTED, until__gt=now)


def _before(ticket: Ticket, now: datetime) -> QuerySet[Ticket]:
    earlier = Q(starts_at__lt=ticket.starts_at) | Q(starts_at=ticket.starts_at, key__lt=ticket.key)
    return _in_line(ticket.tool, now).filter(earlier)


def _in_line(tool: str, now: datetime) -> QuerySet[Ticket]:
    waiting = Ticket.objects.filter(tool=tool, state=TicketState.WAITING, starts_at__lte=now)
    return waiting.order_by("starts_at", "key")


# Handing on


def _over(name: str, at_once: int, key: str) -> int:
    with transaction.atomic():
        _, now = _locked(name)
        Ticket.objects.filter(tool=name).filter(Q(pk=key) | Q(until__lte=now)).delete()
        free = at_once - _under_way(name, now).count()
        called = list(_in_line(name, now)[: max(0, free)])
        for ticket in called:
            ticket.grant()
            ticket.until = now + CALLED_UP
            ticket.save()
            transaction.on_commit(partial(_wake, name, at_once, ticket), robust=True)
    return len(called)


def _wake(name: str, at_once: int, ticket: Ticket) -> None:
    if not ports.wake_run(ticket.run_id):
        _over(name, at_once, ticket.key)  # its run has ended: the next one


def _strike_off(name: str) -> int:
    """The tool has no limit any more: nobody need stand in line."""
    rows = list(Ticket.objects.filter(tool=name, state=TicketState.WAITING)[:200])
    Ticket.objects.filter(pk__in=[row.pk for row in rows]).delete()
    for row in rows:
        ports.wake_run(row.run_id)
    return len(rows)


def _locked(name: str) -> tuple[ToolLimit, datetime]:
    """The row, locked, and the database's time."""
    rows = ToolLimit.objects.select_for_update()
    row = rows.filter(pk=name).first()
    if row is None:
        now = db_now()
        fresh = ToolLimit(tool=name, started_to=now, planned_to=now)
        ToolLimit.objects.bulk_create([fresh], ignore_conflicts=True)
        row = rows.get(pk=name)
    return row, db_now()
