"""The journal as a stream of events: whoever reconnects goes on where they were, also after a restart.

The rows are the truth and a place in the stream is a number in them, so nothing is kept here but a count of
open streams. A stream that waits holds no database connection and no worker of the web server.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.db import connection
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel, Field
from rest_framework import exceptions
from rest_framework.request import Request

from runs.api.answers import EntryOut
from runs.api.bodies import Query, read_query
from runs.api.callers import Need, check, person_of, sees_technical
from runs.api.door import Door, operation
from runs.api.problems import Refused, problem, register
from runs.clock import db_now
from runs.models import JournalEntry, Run, Token
from runs.scopes import RUNS_READ
from runs.services import found_run
from runs.states import RUN_ENDED, look_of

LAST = "Last-Event-ID"
BATCH = 200  # entries read at once
LOOK_EVERY = 0.5  # seconds between two looks for new entries
BEAT_EVERY = 15.0  # seconds of silence until a comment shows that the line is alive; rights are read again
LASTS = 600.0  # seconds until a stream is closed; the client comes back by itself
EACH = 10  # streams that one user may have open, in one process
RETRY_MS = 2000  # how soon a browser comes back
_SEQ = re.compile(r"[0-9]{1,15}")
_READERS = 4

_readers = ThreadPoolExecutor(_READERS, thread_name_prefix="journal-stream")


class TooManyStreams(Exception):  # noqa: N818 - read as a sentence where it is caught
    """As many streams are open as there may be."""


register(
    TooManyStreams,
    lambda error, view: problem(503, "unavailable", str(error), headers={"Retry-After": "5"}),
)


class _Places:
    """How many streams are open in this process, in all and by user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[int] = Counter()

    def take(self, user_id: int) -> Callable[[], None]:
        """A place, and how to give it back (once, however often it is called). Raises TooManyStreams."""
        with self._lock:
            if self._open[user_id] >= EACH:
                raise TooManyStreams(
                    f"You have {EACH} streams open; close one, or read the journal in pages."
                )
            if self._open.total() >= settings.HOLDPOINT_API_STREAMS:
                raise TooManyStreams("Too many streams are open; try again, or read the journal in pages.")
            self._open[user_id] += 1
        given_back = threading.Event()

        def give_back() -> None:
            with self._lock:
                if not given_back.is_set():
                    given_back.set()
                    self._open[user_id] -= 1

        return give_back

    def count(self) -> int:
        """How many are open."""
        with self._lock:
            return self._open.total()


places = _Places()


class Since(Query):
    """Where a stream begins."""

    after: int = Field(default=0, ge=0, le=10**15 - 1, description="As Last-Event-ID, which counts more.")


@dataclass(frozen=True)
class _Caller:
    """Whose stream it is, as rows that are read again while it is open: a token, or else a session."""

    token_id: str
    session: Callable[[], SessionBase]


@dataclass(frozen=True)
class _Look:
    """What one look found."""

    events: list[str]
    last: int
    ended: str = ""  # the state in which the run ended, once everything before was told


_LAST_SENT = OpenApiParameter(
    LAST,
    {"type": "string", "pattern": "^[0-9]{1,15}$"},
    OpenApiParameter.HEADER,
    description="The number of the last entry that you have.",
)
SEE_JOURNAL = Need("runs.view_journalentry", RUNS_READ)


class JournalStream(Door):
    """The journal of a run as it is written."""

    needs = {"GET": SEE_JOURNAL}

    @operation(
        "stream_entries",
        "Follow the journal of a run",
        {(200, "text/event-stream"): str},
        query=Since,
        headers=[_LAST_SENT],
        refuses=[404],
    )
    def get(self, request: Request, run_id: str) -> HttpResponseBase:
        """Server-sent events. `entry` carries one entry as JSON, and its number as id: send it as
        Last-Event-ID to go on after it, without gaps or repeats. `end` says that the run has ended; comments
        show that the line is alive. A stream is closed after ten minutes: come back with the last id.
        """
        after = _place(request, found_run(run_id))
        technical = sees_technical(request)
        token = request.auth.pk if isinstance(request.auth, Token) else ""
        caller = _Caller(token, partial(type(request.session), request.session.session_key))
        give_back = places.take(person_of(request).pk)
        response = StreamingHttpResponse(
            _follow(run_id, after, caller, technical=technical), content_type="text/event-stream"
        )
        response["X-Accel-Buffering"] = "no"
        response._resource_closers.append(give_back)  # type: ignore[attr-defined]
        if not connection.in_atomic_block:
            connection.close()
        return response


def _place(request: Request, run: Run) -> int:
    """After which entry the stream begins. Raises Refused for what is no number of an entry of `run`."""
    after = _sent(request)
    if after > run.head_seq:
        # Of another run, or of a database that was put back: waiting would skip what is written until then.
        raise Refused(
            400,
            "invalid",
            f"The journal of {run.id} ends with entry {run.head_seq}: nobody can have entry {after} of it. "
            "Send the number of the last entry that you have, or 0 to begin with the first.",
        )
    return after


def _sent(request: Request) -> int:
    sent = request.headers.get(LAST)
    if sent is None:
        return read_query(request, Since).after
    if not _SEQ.fullmatch(sent):
        raise Refused(400, "invalid", f"{LAST} is the number of the last entry that you have, such as 12.")
    return int(sent)


async def _follow(run_id: str, after: int, caller: _Caller, *, technical: bool) -> AsyncIterator[str]:
    """Events until the run has ended, the caller may not see them any more, or the time is over."""
    loop = asyncio.get_running_loop()
    closes_at, beats_at = loop.time() + LASTS, loop.time() + BEAT_EVERY
    yield f"retry: {RETRY_MS}\n\n"
    while True:
        look = await loop.run_in_executor(_readers, _look, run_id, after, technical)
        for event in look.events:
            yield event
        after = look.last
        if look.ended:
            yield _event("end", {"state": look.ended, "state_word": look_of(look.ended).word}, after)
            return
        if loop.time() >= beats_at:
            # Also while entries come without a pause: rights that ended must not last as long as they do.
            sees = await loop.run_in_executor(_readers, _still_sees, caller)
            if sees is None:
                return
            technical = sees
            beats_at = loop.time() + BEAT_EVERY
            yield ": alive\n\n"
        if loop.time() >= closes_at:
            return
        if not look.events:
            await asyncio.sleep(LOOK_EVERY)


def _look(run_id: str, after: int, technical: bool) -> _Look:
    """The entries after number `after`, in order; and the end, if the run had ended before they were read."""
    try:
        state, head = Run.objects.filter(pk=run_id).values_list("state", "head_seq").get()
        rows = list(JournalEntry.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")[:BATCH])
        events = [_told(row, technical=technical) for row in rows]
        last = rows[-1].seq if rows else after
        return _Look(events, last, state if state in RUN_ENDED and last >= head else "")
    finally:
        connection.close()


def _still_sees(caller: _Caller) -> bool | None:
    """Whether the caller may see technical details; None when they may not see the journal any more."""
    asking: Any = SimpleNamespace(session=caller.session(), auth=None)
    try:
        if caller.token_id:
            held = Token.objects.filter(pk=caller.token_id, revoked_at=None, expires_at__gt=db_now())
            asking.auth = held.select_related("user").get()
        asking.user = asking.auth.user if asking.auth else get_user(asking)
        check(asking, SEE_JOURNAL)
        return sees_technical(asking)
    except (Token.DoesNotExist, exceptions.APIException):
        return None
    finally:
        connection.close()


def _told(row: JournalEntry, *, technical: bool) -> str:
    return _event("entry", EntryOut.of(row, technical=technical), row.seq)


def _event(name: str, content: BaseModel | dict[str, str], seq: int) -> str:
    # JSON has no bare line breaks, so one data line holds it; separators that readers split at are escaped.
    plain = content.model_dump(mode="json", exclude_unset=True) if isinstance(content, BaseModel) else content
    return f"id: {seq}\nevent: {name}\ndata: {json.dumps(plain)}\n\n"
