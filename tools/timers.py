"""The caretaker of calls in doubt: it puts on record what is at stake, and asks their lookups again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from datetime import datetime, timedelta

from django.db import connections
from django.db.models import F, OuterRef, Q, Subquery

from tools import registry, services
from tools.clock import db_now, ticks
from tools.models import Inquiry, ToolCall
from tools.stakes import record_stake
from tools.unknown import CannotLook, Finding, look

logger = logging.getLogger(__name__)

CARETAKER = "caretaker"
BATCH = 50
FIRST = timedelta(
    seconds=30
)  # until a lookup that gave no proof is asked again; then twice as long each time
LONGEST = timedelta(hours=1)
WITHIN = 5.0  # seconds: then the round goes on, and the rest is for the next one
ANSWERS_WITHIN = 10.0  # seconds for one lookup, or its tool's timeout where that is shorter


def probe_in_doubt() -> int:
    """Ask the lookups of calls in doubt that are due, once no worker can send them: how many were asked.

    Safe to run twice, at the same time too: each call is asked by the one who puts its next time on record.
    """
    asked, ends = 0, ticks() + WITHIN
    for call in _due(db_now()):
        try:
            asked += _care(call)
        except Exception:
            logger.exception("a call in doubt was left for the next round", extra={"call": call.pk})
        if asked >= BATCH or ticks() > ends:
            break
    return asked


def _due(now: datetime) -> Iterator[ToolCall]:
    """Calls whose stake is not on record, or whose lookup is due; the oldest first, in batches by place."""
    look_at = Inquiry.objects.filter(pk=OuterRef("pk")).values("look_at")
    rows = ToolCall.objects.unknown().annotate(look_at=Subquery(look_at))
    rows = rows.filter(Q(look_at=None) | Q(look_at__lte=now, not_before__lte=now))
    after = Q()
    while batch := list(rows.filter(after)[:BATCH]):
        yield from batch
        at, last = batch[-1].started_at, batch[-1].pk
        after = Q(started_at__gte=at) & (Q(started_at__gt=at) | Q(pk__gt=last))


def _care(call: ToolCall) -> bool:
    try:
        tool = registry.get(call.tool)
    except registry.UnknownTool:
        return False  # another process may have its code
    now = db_now()
    if call.look_at is None:  # type: ignore[attr-defined]
        record_stake(call, max(now, call.not_before or now))
    if not _is_mine(call, now) or not tool.has("lookup"):
        return False
    _note(call, _ask(call, min(tool.timeout, ANSWERS_WITHIN)))
    return True


def _is_mine(call: ToolCall, now: datetime) -> bool:
    """Put on record when it is looked at next; False when somebody else has just done so."""
    due = Inquiry.objects.filter(pk=call.pk, look_at__lte=now)
    inquiry = due.first()
    if inquiry is None:
        return False
    wait = min(FIRST * 2 ** min(inquiry.looks, 10), LONGEST)
    mine = due.filter(look_at=inquiry.look_at)
    return bool(mine.update(look_at=now + wait, looked_at=now, looks=F("looks") + 1))


def _ask(call: ToolCall, seconds: float) -> str:
    """What the lookup says; proof settles the call."""
    try:
        finding = _in_time(lambda: look(call, db_now()), seconds, call.tool)
        services.conclude(call.pk, finding, CARETAKER)
    except (CannotLook, services.SettlementRefused) as error:
        return str(error)
    except services.NotUnknown:
        return ""
    return finding.sentence


def _in_time(ask: Callable[[], Finding], seconds: float, tool: str) -> Finding:
    """The answer of `ask`, on its own thread: one that hangs holds up no other duty. Raises CannotLook."""
    answers: list[Finding] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=copy_context().run, args=(body,), daemon=True, name=f"lookup {tool}")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise CannotLook(f"The lookup of {tool} gave no answer within {seconds:g} s")
    return answers[0]


def _note(call: ToolCall, said: str) -> None:
    if said:
        Inquiry.objects.filter(pk=call.pk).update(said=said)
