"""Idempotency-Key: a request that is sent twice is done once, and answered twice alike.

The answer is kept in the transaction of the act itself. A crash in the middle keeps neither: the same request
may then be sent again. Refusals are not kept, because nothing was done.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from django.db import IntegrityError, OperationalError, connection, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from runs.api.callers import actor_of
from runs.api.problems import Refused
from runs.clock import db_now
from runs.models import KeptAnswer
from runs.services.forgetting import KEPT_FOR
from runs.turns.checkpoint import own_transaction
from tools.canonical import digest

HEADER = "Idempotency-Key"
REPEATED = "Idempotent-Replayed"
WAIT_MS = 2000  # for a first request with the same key that is still being worked on
_FORM = re.compile(r"[\x21-\x7e]{1,200}")
_LOCK_NOT_AVAILABLE = "55P03"


def once(request: Request, act: Callable[[], Response]) -> Response:
    """What `act` answers, or answered before when the caller's key was used for the same request.

    Raises Refused: 400 for a bad key, 422 when it was used for another request, 409 while that is under way.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    asked = _asked(request, key)
    try:
        return _once(actor_of(request), key, asked, act)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
            raise
        said = f"The first request with this {HEADER} is not done yet; ask again in a moment."
        raise Refused(409, "in_progress", said) from None


def once_each(request: Request, act: Callable[[], Response]) -> Response:
    """As `once`, for an act of many transactions that does nothing to what it has been done to already.

    The answer is kept after them. A crash in the middle leaves the rest to do, for the same request.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    asked = _asked(request, key)
    actor, now = actor_of(request), db_now()
    kept = KeptAnswer.objects.filter(actor=actor, key=key, created_at__gt=now - KEPT_FOR).first()
    if kept is not None:
        return _again(kept, asked)
    response = act()
    with own_transaction():
        made, kept = _claim(actor, key, asked)
        if made:
            kept.status, kept.body = response.status_code, response.data
            kept.save(update_fields=["status", "body"])
    return response


def _asked(request: Request, key: str) -> str:
    """The digest of what is asked for. Raises Refused for a bad key."""
    if not _FORM.fullmatch(key):
        raise Refused(400, "invalid", f"{HEADER} is 1 to 200 visible ASCII characters, such as a UUID.")
    return digest([request.method, request.path, request.query_params.urlencode(), request.data])


def _once(actor: str, key: str, asked: str, act: Callable[[], Response]) -> Response:
    with own_transaction():
        mine, kept = _claim(actor, key, asked)
        if not mine:
            return _again(kept, asked)
        response = act()
        kept.status, kept.body = response.status_code, response.data
        kept.save(update_fields=["status", "body"])
        return response


def _claim(actor: str, key: str, asked: str) -> tuple[bool, KeptAnswer]:
    """The row for this key, and whether this request made it. Waits for one that is being made."""
    now = db_now()
    KeptAnswer.objects.filter(actor=actor, key=key, created_at__lte=now - KEPT_FOR).delete()
    new = KeptAnswer(actor=actor, key=key, request_digest=asked, created_at=now)
    if connection.vendor == "postgresql":
        _set_lock_timeout(f"{WAIT_MS}ms")
    try:
        with transaction.atomic():
            new.save(force_insert=True)
        made = True
    except IntegrityError:
        made, new = False, KeptAnswer.objects.get(actor=actor, key=key)
    if connection.vendor == "postgresql":
        _set_lock_timeout("0")
    return made, new


def _set_lock_timeout(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select set_config('lock_timeout', %s, true)", [value])


def _again(kept: KeptAnswer, asked: str) -> Response:
    if kept.request_digest != asked:
        said = f"This {HEADER} was used for another request; take a new one for each thing to do."
        raise Refused(422, "invalid", said)
    headers = {REPEATED: "true"}
    if kept.status == 201 and isinstance(kept.body, dict) and kept.body.get("url"):
        headers["Location"] = kept.body["url"]
    return Response(kept.body, status=kept.status, headers=headers)
