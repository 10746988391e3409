"""An outside API as a tool sees it: a base, what else may be called, and one way to send."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings

from tools import calling
from tools.calling import Current
from tools.canonical import Json, NotJson, compact, normalise
from tools.failures import InvalidData, Proof, ToolError, classify
from tools.http.answers import Answer
from tools.http.errors import Answered, BadAnswer, HalfDone, NotAllowed
from tools.http.network import exchange
from tools.http.places import Origin, Url, filled, joined, url_of
from tools.secrets import Secret
from tools.signature import ContractError

Text = str | Secret

REDIRECTS = 3
_READS = ("GET", "HEAD")
_METHODS = {*_READS, "POST", "PUT", "PATCH", "DELETE"}
_MOVED = (301, 302, 303, 307, 308)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
#: Set here, and by nobody else.
_OURS = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "x-correlation-id"}
#: What goes along to another origin; all else may be a credential.
_HARMLESS = {"accept", "accept-encoding", "accept-language", "user-agent", "x-correlation-id"}
_BODIES = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "content": "application/octet-stream",
}


class Api:
    """One outside API. Made once, at the level of a ``tools.py``; keeps nothing between requests.

    Each request goes over a connection of its own, to an address that was checked; nothing is sent twice.
    """

    def __init__(
        self,
        base: str,
        *,
        also: Iterable[str] = (),
        timeout: float = 20.0,
        headers: Mapping[str, str] | None = None,
        key_header: str = "Idempotency-Key",
        largest: int | None = None,
        trusted: str = "",
    ) -> None:
        """`base` is where paths begin, `also` are other origins that may be called, as those of downloads.

        `timeout` in seconds is for a whole request with its redirects; it never outlives the call. `headers`
        go with each request. `largest` is the most bytes of an answer (HOLDPOINT_VALUE_BYTES). `trusted` is a
        file of certificates to trust instead of the public ones. Raises ContractError.
        """
        try:
            self._base = url_of(base.rstrip("/"))
            self._allowed = {self._base.origin, *(_only_origin(origin) for origin in also)}
        except NotAllowed as error:
            raise ContractError(f"This API cannot be declared: {error}") from None
        if self._base.query or "#" in base:
            raise ContractError("The base of an API ends with its path")
        self._timeout, self._trusted = timeout, trusted
        self._largest = largest or int(settings.HOLDPOINT_VALUE_BYTES)
        self._headers, self._key_header = dict(headers or {}), key_header

    def get(self, path: str, *parts: object, **options: Any) -> Answer:
        """`send` with GET."""
        return self.send("GET", path, *parts, **options)

    def post(self, path: str, *parts: object, **options: Any) -> Answer:
        """`send` with POST."""
        return self.send("POST", path, *parts, **options)

    def send(
        self,
        method: str,
        path: str,
        *parts: object,
        params: Mapping[str, Text | int] | None = None,
        headers: Mapping[str, Text] | None = None,
        json: Json = None,
        form: Mapping[str, Text | int] | None = None,
        content: bytes | None = None,
        expect: Iterable[int] = (),
        act: str = "",
    ) -> Answer:
        """Send one request once; give its answer if its status is one of success, or one of `expect`.

        `path` follows the base, with each ``{}`` replaced by one of `parts`, quoted; or it is a whole URL of
        an allowed origin, which gets no credentials unless it is the base's. One of `json`, `form` and
        `content` is the body. A request that may change something carries the call's key; where one call
        sends several, `act` names each, so that the other side does not take them for one.

        GET and HEAD follow up to three redirects, each checked as the first address was.
        Raises NotAllowed, NotReached, NotTrusted, NoAnswer, BadAnswer, Answered, HalfDone and InvalidData.
        """
        call, method = calling.current(), method.upper()
        if method not in _METHODS:
            raise InvalidData(f"{method[:20]!r} is none of {', '.join(sorted(_METHODS))}")
        sent = _body(json, form, content)
        told = self._told(call, method, headers or {}, sent[0], act)
        url = self._url(path, parts, params or {})
        limit = self._timeout if call is None else min(self._timeout, call.left())
        attempt = _Attempt(self, method, told, sent[1], time.monotonic() + limit, frozenset(expect))
        return _remembering(call, method, lambda: attempt.go(url))

    def _url(self, path: str, parts: tuple[object, ...], params: Mapping[str, Text | int]) -> Url:
        if "://" in path:
            url = url_of(path)
        else:
            if not path.startswith("/"):
                raise NotAllowed(f"{path} must begin with / or be a whole URL")
            url = Url(self._base.origin, self._base.path.rstrip("/") + filled(path, parts))
        query = "&".join(filter(None, [url.query, _encoded(params)]))
        return Url(url.origin, url.path, query)

    def _told(
        self, call: Current | None, method: str, given: Mapping[str, Text], kind: str, act: str
    ) -> dict[str, str]:
        told = {"Accept": "application/json", "User-Agent": "holdpoint", "Accept-Encoding": "gzip"}
        if kind:
            told["Content-Type"] = kind
        if call is not None and call.call_id:
            told["X-Correlation-Id"] = call.call_id
        if call is not None and call.key and method not in _READS:
            told[self._key_header] = f"{call.key}:{act}" if act else call.key
        for name, value in {**self._headers, **given}.items():
            known = [other for other in told if other.lower() == name.lower()]
            if name.lower() in _OURS or name.lower() == self._key_header.lower():
                raise InvalidData(f"the header {name} is not for a tool to set")
            for other in known:
                del told[other]
            told[name] = _header(name, value)
        return told

    def check(self, origin: Origin) -> bool:
        """Whether `origin` is a private host that the installation names. Raises NotAllowed if it may not be
        called.
        """
        private = origin.place in settings.HOLDPOINT_PRIVATE_HOSTS
        if origin not in self._allowed:
            raise NotAllowed(f"{origin} is not among what this API may call")
        if origin.scheme != "https" and not private:
            raise NotAllowed(
                f"{origin} is not https, and HOLDPOINT_PRIVATE_HOSTS does not name {origin.place}"
            )
        return private


class _Attempt:
    """One request with its redirects, until its time is over."""

    def __init__(
        self, api: Api, method: str, told: dict[str, str], body: bytes, ends: float, expect: frozenset[int]
    ) -> None:
        self._api, self._method, self._body = api, method, body
        self._told, self._ends, self._expect = told, ends, expect

    def go(self, url: Url) -> Answer:
        """The answer. Raises as `Api.send`."""
        for _ in range(REDIRECTS + 1):
            answer = self._once(url)
            location = answer.headers.get("location")
            moved = self._method in _READS and answer.status_code in _MOVED and location
            if 200 <= answer.status_code < 300 or answer.status_code in self._expect:
                return answer
            if not moved or location is None:
                said = f"{self._method} {url} was answered with {answer.status_code}"
                raise Answered(said, answer)
            url = joined(url, location)
        raise BadAnswer(f"{self._method} {url}: more than {REDIRECTS} redirects")

    def _once(self, url: Url) -> Answer:
        api = self._api
        private = api.check(url.origin)
        own = url.origin == api._base.origin
        told = self._told if own else {k: v for k, v in self._told.items() if k.lower() in _HARMLESS}
        return exchange(
            self._method,
            url,
            told,
            self._body,
            ends=self._ends,
            private=private,
            largest=api._largest,
            trusted=api._trusted,
        )


def _remembering(call: Current | None, method: str, go: Callable[[], Answer]) -> Answer:
    """What an earlier request of this call may have changed takes the proof from a later one's failure."""
    if call is None or not call.acts:
        return go()
    proven = False
    try:
        return go()
    except (Answered, ToolError) as error:
        proven = classify(error).proof is not Proof.NONE
        if proven and call.changed:
            said = f"{error}; an earlier request of this call may have changed something"
            raise HalfDone(said) from error
        raise
    finally:
        call.changed |= method not in _READS and not proven


def _only_origin(text: str) -> Origin:
    url = url_of(text)
    if url.path != "/" or url.query or text.endswith(("#", "?")):
        raise NotAllowed(f"{url} is more than an origin")
    return url.origin


def _body(json: Json, form: Mapping[str, Text | int] | None, content: bytes | None) -> tuple[str, bytes]:
    """The body's type and bytes."""
    given = [
        name for name, body in (("json", json), ("form", form), ("content", content)) if body is not None
    ]
    if len(given) > 1:
        raise InvalidData(f"a request has one body, not {' and '.join(given)}")
    if json is not None:
        try:
            return _BODIES["json"], compact(normalise(json, most=int(settings.HOLDPOINT_VALUE_BYTES)))
        except NotJson as error:
            raise InvalidData(f"the body cannot be sent as JSON: {error}") from None
    if form is not None:
        return _BODIES["form"], _encoded(form).encode()
    return (_BODIES["content"], content) if content is not None else ("", b"")


def _encoded(values: Mapping[str, Text | int]) -> str:
    return urlencode([(name, _text(value)) for name, value in values.items()])


def _text(value: Text | int) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)


def _header(name: str, value: Text) -> str:
    text = _text(value)
    if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(text):
        raise InvalidData(f"the header {name[:40]!r} cannot be sent: plain characters alone")
    return text
