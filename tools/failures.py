"""What went wrong, by class: from the exception's type and HTTP status, never from words in its message."""

from __future__ import annotations

import email.utils
import errno
import math
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar
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


#: The most characters of a failure's message, and of a provider's code.
LONGEST_MESSAGE, LONGEST_CODE = 4000, 64
#: Nobody is waited for longer than this, in seconds: thirty days.
LONGEST_WAIT = 30 * 86_400.0
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True)
class Failure:
    """A classified failure. `retry_after` is in seconds, when the other side named a time; `code` is the
    provider's own word for it.

    Whatever it is made of, it can be kept: text without what no database takes, of limited length; a wait
    that is a number of seconds from 0 to thirty days.
    """

    kind: FailureClass
    message: str
    retry_after: float | None = None
    proof: Proof = Proof.NONE
    code: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", _word(FailureClass, self.kind, FailureClass.FATAL))
        object.__setattr__(self, "proof", _word(Proof, self.proof, Proof.NONE))
        object.__setattr__(self, "message", keepable(self.message, LONGEST_MESSAGE))
        object.__setattr__(self, "code", keepable(self.code, LONGEST_CODE))
        object.__setattr__(self, "retry_after", _seconds(self.retry_after))


def keepable(text: object, longest: int) -> str:
    """`text` as both databases take it: no NUL, no half of a character, at most `longest` characters."""
    plain = text if type(text) is str else words_of(text)
    kept = plain if len(plain) <= longest else plain[: longest - 1] + "…"
    return _UNKEEPABLE.sub("\N{REPLACEMENT CHARACTER}", kept)


def words_of(value: object) -> str:
    """`value` as text, whatever its own code does; its type's name when it has none to say."""
    with suppress(BaseException):  # an exception of users may do anything when it is read
        return "".join(str(value))
    return type(value).__name__


def _word(kind: type[Word], word: Any, otherwise: Word) -> Word:
    try:
        return kind(word)
    except (ValueError, TypeError):
        return otherwise


def _seconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        return None
    return float(min(max(value, 0.0), LONGEST_WAIT))


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
_STATUSES: dict[tuple[type[BaseException] | None, int], tuple[FailureClass, Proof]] = {}
_CODES: dict[type[BaseException], tuple[str, dict[str, tuple[FailureClass, Proof]]]] = {}
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
    Raises ValueError for what is no exception of its own kind, and for another word about one that has one.
    """
    _must_be_of_its_own(error)
    _once(_REGISTERED, error, (FailureClass(kind), Proof(proof)), error.__name__)


def register_status(
    status: int,
    kind: FailureClass,
    proof: Proof = Proof.NONE,
    *,
    for_error: type[BaseException] | None = None,
) -> None:
    """Classify an HTTP `status` as `kind`; with `for_error`, only where such an exception carries it.

    `proof` and ValueError as for `register`.
    """
    if not _is_status(status):
        raise ValueError(f"{status!r} is no HTTP status: it is a number from 100 to 599")
    if for_error is not None:
        _must_be_of_its_own(for_error)
    said = f"status {status}" + (f" of {for_error.__name__}" if for_error else "")
    _once(_STATUSES, (for_error, status), (FailureClass(kind), Proof(proof)), said)


Said = FailureClass | tuple[FailureClass, Proof]


def register_code(error: type[BaseException], where: str, codes: Mapping[str, Said]) -> None:
    """Classify `error` by the provider's own code, found at the attribute path `where`, before its status.

    `where` is a path such as ``error.code``; keys of dicts count as attributes. `codes` give a class for each
    code, or a class and a proof. A code that is not among them leaves the class as it is, and is kept with
    the failure all the same. ValueError as for `register`.
    """
    _must_be_of_its_own(error)
    if not all(part.isidentifier() for part in where.split(".")):
        raise ValueError(f"{where!r} is no path of attributes, such as error.code")
    known = {code: _said(said) for code, said in codes.items()}
    _once(_CODES, error, (where, known), error.__name__)


def _said(said: Said) -> tuple[FailureClass, Proof]:
    kind, proof = said if isinstance(said, tuple) else (said, Proof.NONE)
    return FailureClass(kind), Proof(proof)


def _must_be_of_its_own(error: object) -> None:
    fits = isinstance(error, type) and issubclass(error, BaseException)
    if not fits or error in (BaseException, Exception):
        raise ValueError(f"{error!r} cannot be registered: name the class of one kind of exception")


def _once(table: dict[Any, Any], key: object, value: object, what: str) -> None:
    if table.setdefault(key, value) != value:
        raise ValueError(f"{what} is registered already, as something else")


def classify(error: BaseException) -> Failure:
    """The failure that `error` stands for, whatever its own code does. Pure, apart from the clock when
    Retry-After names a date.
    """
    message = scrub_text(words_of(error)).strip() or type(error).__name__
    code, by_code = _by_code(error)
    if by_code is not None:
        return Failure(by_code[0], message, _wait_named_by(error), by_code[1], code)
    for ancestor in type(error).__mro__:
        if ancestor in _REGISTERED:
            kind, proof = _REGISTERED[ancestor]
            return Failure(kind, message, _wait_named_by(error), proof, code)
    if isinstance(error, ToolError):
        wait = _attribute(error, "retry_after")
        return Failure(_attribute(error, "kind"), message, wait, _attribute(error, "proof"), code)
    status = _status_of(error)
    if status is not None:
        return _from_status(status, message, error, code)
    proof = Proof.NOT_ACCEPTED if _was_never_sent(error) else Proof.NONE
    return Failure(_from_type(error), f"{type(error).__name__}: {message}", proof=proof, code=code)


def _by_code(error: BaseException) -> tuple[str, tuple[FailureClass, Proof] | None]:
    """The provider's code, and what was registered for it."""
    for ancestor in type(error).__mro__:
        if ancestor in _CODES:
            where, known = _CODES[ancestor]
            code = _at(error, where)
            return code, known.get(code)
    return "", None


def _at(holder: object, where: str) -> str:
    for part in where.split("."):
        holder = holder.get(part) if type(holder) is dict else _attribute(holder, part)
    if isinstance(holder, str | int) and not isinstance(holder, bool):
        return keepable(scrub_text(words_of(holder)), LONGEST_CODE)
    return ""


def _attribute(holder: object, name: str) -> Any:
    """An attribute of an object of users: None when it has none, and when asking for it breaks."""
    with suppress(BaseException):
        return getattr(holder, name, None)
    return None


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


def _from_status(status: int, message: str, error: BaseException, code: str) -> Failure:
    wait = _wait_named_by(error)
    said = f"HTTP {status}: {message}"
    for ancestor in (*type(error).__mro__, None):
        if (ancestor, status) in _STATUSES:
            kind, proof = _STATUSES[ancestor, status]
            return Failure(kind, said, wait, proof, code)
    kind = FailureClass.RATE_LIMITED if status == 503 and wait is not None else class_of_status(status)
    proof = Proof.NOT_ACCEPTED if 400 <= status < 500 and status not in _OPEN_STATUS else Proof.NONE
    return Failure(kind, said, wait, proof, code)


def class_of_status(status: int) -> FailureClass:
    """The class of an HTTP status about which nothing else was said."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return FailureClass.TRANSIENT
    return FailureClass.INVALID_DATA if status >= 400 else FailureClass.FATAL


def _status_of(error: BaseException) -> int | None:
    """The HTTP status that a client library's exception carries, in the places where libraries put it."""
    if isinstance(error, HTTPError):
        status = _attribute(error, "code")
        return int(status) if _is_status(status) else None
    for holder in (_attribute(error, "response"), error):
        status = _attribute(holder, "status_code")
        if _is_status(status):
            return int(status)
    return None


def _is_status(status: object) -> bool:
    return isinstance(status, int) and not isinstance(status, bool) and 100 <= status < 600


def _wait_named_by(error: BaseException) -> float | None:
    for holder in (_attribute(error, "response"), error):
        get = _attribute(_attribute(holder, "headers"), "get")
        value = None
        with suppress(BaseException):
            value = get("Retry-After") if get else None
        if isinstance(value, str):
            return seconds_until(value, time.time())
    return None


def seconds_until(retry_after: str, now: float) -> float | None:
    """The seconds that a Retry-After header asks for; None when it says nothing one can use.

    `now` is in seconds since 1970, for headers that name a date.
    """
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - now
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
