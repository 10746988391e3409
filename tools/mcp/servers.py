"""The MCP servers of this installation, as the file named in HOLDPOINT_MCP_SERVERS declares them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tools import secrets
from tools.signature import ContractError

_NAME = re.compile(r"[a-z][a-z0-9]{0,19}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")
_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_OF_A_COMMAND = frozenset({"command", "pass", "environment"})
_OF_A_URL = frozenset({"url", "headers"})
_OF_BOTH = frozenset({"secrets", "timeout"})


class UnknownServer(LookupError):
    """No MCP server of that name is declared here."""


@dataclass(frozen=True)
class Server:
    """One declared server: a command to start, or a URL; `timeout` in seconds is that of its tools' calls."""

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    passes: tuple[str, ...] = ()  # variables of ours that the command gets as they are
    values: Mapping[str, str] = field(default_factory=dict)  # its environment or headers, with {places}
    secrets: Mapping[str, str] = field(default_factory=dict)  # references, by the name of their place
    timeout: float = 30.0

    def filled(self) -> dict[str, str]:
        """The values with their secrets in place. Raises SecretMissing and SecretsAway."""
        with secrets.opened(self.secrets, f"the MCP server {self.name}"):
            known = {name: secrets.secret(name).reveal() for name in self.secrets}
        return {
            name: _PLACE.sub(lambda found: known.get(found[1], found[0]), value)
            for name, value in self.values.items()
        }


def declared() -> dict[str, Server]:
    """Every declared server, by name. Raises ImproperlyConfigured for a file that cannot be used."""
    return _read(str(settings.HOLDPOINT_MCP_SERVERS))


def server(name: str) -> Server:
    """The server of that name. Raises UnknownServer."""
    known = declared()
    if name not in known:
        there = ", ".join(sorted(known)) or "none"
        raise UnknownServer(f"No MCP server {name} is declared; HOLDPOINT_MCP_SERVERS declares: {there}")
    return known[name]


def check() -> None:
    """At start: whether what is declared can be used. Raises ImproperlyConfigured."""
    if declared() and find_spec("mcp") is None:
        raise ImproperlyConfigured(
            "HOLDPOINT_MCP_SERVERS declares MCP servers, and the package mcp is not installed: "
            "type pip install 'holdpoint[mcp]', or unset it."
        )


@lru_cache(maxsize=8)
def _read(path: str) -> dict[str, Server]:
    if not path:
        return {}
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise _wrong(f"{path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise _wrong(f"{path} is no JSON ({error})") from None
    if not isinstance(told, dict):
        raise _wrong(f"{path} must hold one object: servers by name")
    return {name: _server(name, each) for name, each in told.items()}


def _server(name: str, told: Any) -> Server:
    if not _NAME.fullmatch(name):
        raise _wrong(f"{name!r} cannot be a server's name; use a to z and 0 to 9, at most 20 of them")
    if not isinstance(told, dict) or ("command" in told) == ("url" in told):
        raise _wrong(f"the server {name} must have either a command or a url")
    known = _OF_BOTH | (_OF_A_COMMAND if "command" in told else _OF_A_URL)
    if strange := sorted(set(told) - known):
        raise _wrong(f"the server {name} has {strange[0]!r}; known there are {', '.join(sorted(known))}")
    named = _VARIABLE if "command" in told else _HEADER
    made = Server(
        name,
        command=_words(name, told, "command", least=1) if "command" in told else (),
        url=_url(name, told["url"]) if "url" in told else "",
        passes=_words(name, told, "pass"),
        values=_texts(name, told, "environment" if "command" in told else "headers", named),
        secrets=_references(name, told),
        timeout=_seconds(name, told.get("timeout", 30)),
    )
    _refuse_empty_places(made)
    return made


def _words(name: str, told: dict[str, Any], what: str, least: int = 0) -> tuple[str, ...]:
    words = told.get(what, [])
    fits = isinstance(words, list) and len(words) >= least
    if not fits or not all(isinstance(word, str) and word and "\0" not in word for word in words):
        raise _wrong(f"the {what} of the server {name} must be a list of words")
    return tuple(words)


def _texts(name: str, told: dict[str, Any], what: str, named: re.Pattern[str]) -> dict[str, str]:
    texts = told.get(what, {})
    if not isinstance(texts, dict):
        raise _wrong(f"the {what} of the server {name} must be an object of texts")
    for key, text in texts.items():
        if not named.fullmatch(key) or not isinstance(text, str) or set(text) & {"\0", "\r", "\n"}:
            raise _wrong(f"{what}.{key} of the server {name} must be a text of one line")
    return dict(texts)


def _references(name: str, told: dict[str, Any]) -> dict[str, str]:
    references = told.get("secrets", {})
    if not isinstance(references, dict):
        raise _wrong(f"the secrets of the server {name} must be an object of references")
    try:
        return secrets.checked(references, f"the server {name}")
    except ContractError as error:
        raise _wrong(str(error)) from None


def _url(name: str, url: Any) -> str:
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise _wrong(f"the url of the server {name} must be one such as https://mcp.example.com/mcp")
    if parts.scheme == "http" and parts.hostname not in _HERE:
        raise _wrong(f"the url of the server {name} must begin with https: it is not on this machine")
    return str(url)


def _seconds(name: str, seconds: Any) -> float:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not math.isfinite(seconds) or not 0 < seconds <= 3600:
        raise _wrong(f"the timeout of the server {name} must be a number of seconds up to 3600")
    return float(seconds)


def _refuse_empty_places(made: Server) -> None:
    places = {place for value in made.values.values() for place in _PLACE.findall(value)}
    if empty := sorted(places - set(made.secrets)):
        raise _wrong(f"the server {made.name} uses {{{empty[0]}}}, and its secrets have no {empty[0]}")
    if unused := sorted(set(made.secrets) - places):
        raise _wrong(f"the server {made.name} has the secret {unused[0]}, and uses {{{unused[0]}}} nowhere")


def _wrong(what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"HOLDPOINT_MCP_SERVERS: {what}.")
