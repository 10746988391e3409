"""URLs read once and strictly: what is checked here is what is connected to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from tools.http.errors import NotAllowed
from tools.secrets import Secret

LONGEST = 8000  # characters
_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: What a URL may be written with: no blanks, no control characters, no backslash, nothing that is not ASCII.
_PLAIN = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port: what an allow-list names."""

    scheme: str
    host: str  # without brackets
    port: int

    @property
    def place(self) -> str:
        """Host and port, as an installation names a private one: ``localhost:8080``."""
        return f"{self._bracketed}:{self.port}"

    @property
    def header(self) -> str:
        """What the Host header says."""
        return self._bracketed if self.port == _PORTS[self.scheme] else self.place

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.scheme}://{self.header}"


@dataclass(frozen=True)
class Url:
    """One address on the web: its origin, its path, and the rest that may hold what is not to be told."""

    origin: Origin
    path: str
    query: str = ""

    @property
    def target(self) -> str:
        """What the request's first line says."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"


def url_of(text: str) -> Url:
    """`text` as a URL of http or https. Raises NotAllowed, without the query."""
    if len(text) > LONGEST or not _PLAIN.fullmatch(text):
        raise NotAllowed("a URL may hold at most 8000 plain characters; quote the others")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise NotAllowed("this is no URL") from None
    if parts.scheme not in _PORTS or "@" in parts.netloc or port == 0:
        raise NotAllowed(f"only https:// and http:// without a user can be called, not {parts.scheme}:")
    host = _host(parts.hostname or "", parts.netloc)
    origin = Origin(parts.scheme, host, port or _PORTS[parts.scheme])
    path = parts.path or "/"
    refuse_dots(path)
    return Url(origin, path, parts.query)


def joined(base: Url, location: str) -> Url:
    """Where a redirect of `base` leads. Raises NotAllowed."""
    if not _PLAIN.fullmatch(location):
        raise NotAllowed("the redirect leads to no plain URL")
    return url_of(urljoin(f"{base.origin}{base.target}", location))


def filled(path: str, parts: tuple[object, ...]) -> str:
    """`path` with each ``{}`` replaced by one part, quoted: a part is never more than one piece of a path.

    Raises NotAllowed.
    """
    pieces = path.split("{}")
    if len(pieces) != len(parts) + 1:
        raise NotAllowed(f"{path} has {len(pieces) - 1} places, and {len(parts)} parts were given")
    written = [_piece(part) for part in parts]
    whole = "".join(piece + part for piece, part in zip(pieces, [*written, ""], strict=True))
    if not _PLAIN.fullmatch(whole) or "?" in whole or "#" in whole:
        raise NotAllowed(f"{path} is no plain path; give what is searched for as params")
    refuse_dots(whole)
    return whole


def refuse_dots(path: str) -> None:
    """Raises NotAllowed for a path that would lead elsewhere than it says."""
    pieces = re.sub("%2e", ".", path, flags=re.IGNORECASE).split("/")
    if "." in pieces or ".." in pieces:
        raise NotAllowed("a path may not hold . or .. as a piece")


def _piece(part: object) -> str:
    if isinstance(part, Secret) or not isinstance(part, str | int):
        raise NotAllowed("what stands in a path must be text or a whole number, and no secret")
    text = str(part)
    if text in ("", ".", ".."):
        raise NotAllowed("what stands in a path may not be empty, . or ..")
    return quote(text, safe="")


def _host(name: str, written: str) -> str:
    if "[" in written:
        try:
            return str(ipaddress.IPv6Address(name))
        except ValueError:
            raise NotAllowed("this is no address of IPv6") from None
    if len(name) > 253 or not all(map(_LABEL.fullmatch, name.split("."))):
        raise NotAllowed("a host is called by its plain name, without a dot at the end")
    return name
