"""What went wrong, by class: from the exception's type and HTTP status, never from words in its message."""

from __future__ import annotations

import email.utils
import errno
import math
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.error import HTTPError

import pydantic
from django.core import exceptions as django_errors
from django.db import Error as DatabaseError
from django.db import IntegrityError, InterfaceError, OperationalError

from tools.scrubbing import scrub_text


class FailureClass(StrEnum):
    """Why a call failed; with the effect it decides what happens next."""

    TRANSIENT = "transient"  # may go away by itself
    RATE_LIMITED = "rate_limited"  # too much at once; often says how long to wait
    STALE_DATA = "stale_data"  # the world moved on since the facts were read
    PERMISSION = "permission"  # somebody must grant something
    INVALID_DATA = "invalid_data"  # the arguments cannot be right
    REFUSED = "refused"  # the rules say no
    LOW_CONFIDENCE = "low_confidence"  # not sure enough to go on alone
    NEEDS_INPUT = "needs_input"  # something only a person can say is missing
    BUDGET = "budget"  # the run has used up what it was given
    UNKNOWN_OUTCOME = "unknown_outcome"  # sent, and nobody knows whether it happened
    UNAVAILABLE = "unavailable"  # not tried: the other side is known to be away, or ill
    FATAL = "fatal"  # a defect: trying again will not help


class Proof(StrEnum):
    """How sure it is that a failed call changed nothing."""

    NONE = "none"  # it may have happened
    NOT_ACCEPTED = "not_accepted"  # the other side refused the request, or was never reached
    DECLARED = "declared"  # the tool itself said so, before it sent anything


@dataclass(frozen=True)
class Failure:
    """A classified failure. `retry_after` is in seconds, when the other side named a time."""

    kind: FailureClass
    message: str
    retry_after: float | None = None
    proof: Proof = Proof.NONE


class ToolError(Exception):
    """Base of what a tool may raise to say itself what went wrong. Do not raise directly."""

    kind = FailureClass.FATAL
    proof = Proof.NONE

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message or (self.__doc__ or "").partition("\n")[0])


class Refused(ToolError):
    """The tool's own rules say no, and nothing was done.

    Raise it, as InvalidData, PermissionNeeded, StaleData and NeedsInput, only where that is certain: they
    end a call as not done, also an irreversible one.
    """

    kind = FailureClass.REFUSED
    proof = Proof.DECLARED

    @property
    def reason(self) -> str:
        """Why, in the tool's words."""
        return str(self)


class InvalidData(ToolError):
    """The arguments cannot be right, and nothing was done."""

    kind = FailureClass.INVALID_DATA
    proof = Proof.DECLARED


class PermissionNeeded(ToolError):
    """Somebody must grant access first; nothing was done."""

    kind = FailureClass.PERMISSION
    proof = Proof.DECLARED


class StaleData(ToolError):
    """The world moved on since the facts were read; nothing was done."""

    kind = FailureClass.STALE_DATA
    proof = Proof.DECLARED


class NeedsInput(ToolError):
    """Something only a person can say is missing; nothing was done."""

    kind = FailureClass.NEEDS_INPUT
    proof = Proof.DECLARED


class LowConfidence(ToolError):
    """Not sure enough to go on alone; nothing was done."""

    kind = FailureClass.LOW_CONFIDENCE
    proof = Proof.DECLARED


class BudgetUsedUp(ToolError):
    """The run has used up what it was given; nothing was done."""

    kind = FailureClass.BUDGET
    proof = Proof.DECLARED


class ToolUnavailable(ToolError):
    """The other side is known to be away or ill, so it was not asked; `retry_after` is in seconds."""

    kind = FailureClass.UNAVAILABLE
    proof = Proof.DECLARED


class Transient(ToolError):
    """It may go away by itself."""

    kind = FailureClass.TRANSIENT


class RateLimited(ToolError):
    """Too much at once; `retry_after` is in seconds."""

    kind = FailureClass.RATE_LIMITED


class UnknownOutcome(ToolError):
    """It was sent, and nobody knows whether it happened."""

    kind = FailureClass.UNKNOWN_OUTCOME


class Fatal(ToolError):
    """A defect: trying again will not help."""

    kind = FailureClass.FATAL


_Kind = FailureClass
_REGISTERED: dict[type[BaseException], tuple[FailureClass, Proof]] = {}
# The class nearest to the exception's own in its line of ancestors wins.
_BUILT_IN: dict[type[BaseException], FailureClass] = {
    TimeoutError: _Kind.TRANSIENT,
    ConnectionError: _Kind.TRANSIENT,
    BlockingIOError: _Kind.TRANSIENT,
    InterruptedError: _Kind.TRANSIENT,
    socket.gaierror: _Kind.TRANSIENT,
    ssl.SSLError: _Kind.TRANSIENT,
    ssl.SSLCertVerificationError: _Kind.FATAL,
    PermissionError: _Kind.PERMISSION,
    FileNotFoundError: _Kind.INVALID_DATA,
    subprocess.TimeoutExpired: _Kind.TRANSIENT,
    pydantic.ValidationError: _Kind.INVALID_DATA,
    django_errors.ValidationError: _Kind.INVALID_DATA,
    django_errors.ObjectDoesNotExist: _Kind.INVALID_DATA,
    django_errors.PermissionDenied: _Kind.PERMISSION,
    IntegrityError: _Kind.INVALID_DATA,
    OperationalError: _Kind.TRANSIENT,
    InterfaceError: _Kind.TRANSIENT,
    DatabaseError: _Kind.FATAL,
}
# Named and not imported: httpx is slow to load, and whoever gets an error from it has loaded it.
_BUILT_IN_BY_NAME = {
    "httpx.TransportError": _Kind.TRANSIENT,
    "httpx.StreamError": _Kind.TRANSIENT,
    "httpx.UnsupportedProtocol": _Kind.INVALID_DATA,
    "httpx.InvalidURL": _Kind.INVALID_DATA,
}
_BY_ERRNO = dict.fromkeys(
    (
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
    ),
    _Kind.TRANSIENT,
) | {errno.EROFS: _Kind.PERMISSION}
_BY_STATUS = {
    401: _Kind.PERMISSION,
    402: _Kind.PERMISSION,
    403: _Kind.PERMISSION,
    407: _Kind.PERMISSION,
    408: _Kind.TRANSIENT,
    409: _Kind.STALE_DATA,
    412: _Kind.STALE_DATA,
    423: _Kind.TRANSIENT,
    425: _Kind.TRANSIENT,
    428: _Kind.STALE_DATA,
    429: _Kind.RATE_LIMITED,
    501: _Kind.FATAL,
    505: _Kind.FATAL,
}
# Answers of the 400s that do not say "not done": 409 may mean that an attempt with this key is under way.
_OPEN_STATUS = frozenset({408, 409})
# No connection, so nothing was sent.
_NEVER_REACHED = (
    ConnectionRefusedError,
    socket.gaierror,
    ssl.SSLCertVerificationError,
)
_NEVER_REACHED_BY_NAME = frozenset(
    f"httpx.{name}"
    for name in ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL")
)


def register(error: type[BaseException], kind: FailureClass, proof: Proof = Proof.NONE) -> None:
    """Classify `error` and its subclasses as `kind` from now on, before any rule of our own.

    Give a `proof` only if the exception means that nothing was done. Call it at the level of a ``tools.py``.
    """
    _REGISTERED[error] = (kind, proof)


def classify(error: BaseException) -> Failure:
    """The failure that `error` stands for. Pure, apart from the clock when Retry-After names a date."""
    message = scrub_text(str(error).strip() or type(error).__name__)
    for ancestor in type(error).__mro__:
        if ancestor in _REGISTERED:
            kind, proof = _REGISTERED[ancestor]
            return Failure(kind, message, _wait_named_by(error), proof)
    if isinstance(error, ToolError):
        return Failure(error.kind, message, error.retry_after, error.proof)
    status = _status_of(error)
    if status is not None:
        return _from_status(status, message, error)
    proof = Proof.NOT_ACCEPTED if _was_never_sent(error) else Proof.NONE
    return Failure(_from_type(error), f"{type(error).__name__}: {message}", proof=proof)


def _was_never_sent(error: BaseException) -> bool:
    by_name = any(_name_of(ancestor) in _NEVER_REACHED_BY_NAME for ancestor in type(error).__mro__)
    return by_name or isinstance(error, _NEVER_REACHED)


def _name_of(error: type) -> str:
    return f"{error.__module__}.{error.__qualname__}"


def _from_type(error: BaseException) -> FailureClass:
    if isinstance(error, OSError) and type(error) is OSError:
        return _BY_ERRNO.get(error.errno or 0, _Kind.FATAL)
    for ancestor in type(error).__mro__:
        kind = _BUILT_IN.get(ancestor) or _BUILT_IN_BY_NAME.get(_name_of(ancestor))
        if kind is not None:
            return kind
    return _Kind.FATAL


def _from_status(status: int, message: str, error: BaseException) -> Failure:
    if status in _BY_STATUS:
        kind = _BY_STATUS[status]
    elif status >= 500:
        kind = _Kind.TRANSIENT
    else:
        kind = _Kind.INVALID_DATA if status >= 400 else _Kind.FATAL
    wait = _wait_named_by(error)
    if status == 503 and wait is not None:
        kind = _Kind.RATE_LIMITED
    proof = Proof.NOT_ACCEPTED if 400 <= status < 500 and status not in _OPEN_STATUS else Proof.NONE
    return Failure(kind, f"HTTP {status}: {message}", wait, proof)


def _status_of(error: BaseException) -> int | None:
    """The HTTP status that a client library's exception carries, in the places where libraries put it."""
    if isinstance(error, HTTPError):
        return error.code
    for holder in (getattr(error, "response", None), error):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return None


def _wait_named_by(error: BaseException) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or getattr(
        error, "headers", None
    )
    get: Callable[[str], object] | None = getattr(headers, "get", None)
    value = get("Retry-After") if get else None
    return seconds_until(value, time.time()) if isinstance(value, str) else None


def seconds_until(retry_after: str, now: float) -> float | None:
    """The seconds that a Retry-After header asks for; None when it says nothing one can use.

    `now` is in seconds since 1970, for headers that name a date.
    """
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - now
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
