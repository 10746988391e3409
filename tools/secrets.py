"""Secrets as references: named on the tool, resolved when a call needs them, open while its body runs."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from tools.failures import PermissionNeeded, Proof, Transient
from tools.scrubbing import SHORTEST, mask, remember
from tools.signature import ContractError

#: Gives the value behind what follows the scheme; a LookupError or an OSError says that there is none for us.
Resolver = Callable[[str], str]

LONGEST = 64 * 1024  # characters of a value
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,31}")
_resolvers: dict[str, Resolver] = {}


class SecretMissing(PermissionNeeded):
    """A secret that the tool needs is not there for this worker; nothing was done."""


class SecretsAway(Transient):
    """The place that keeps a secret did not answer; nothing was done."""

    proof = Proof.DECLARED


class NotOpen(RuntimeError):
    """Secrets are there only while the body or the lookup of a tool that names them runs."""


class Secret:
    """A value that is shown to nobody: every text made of it is a mask, and it cannot be stored or sent."""

    __slots__ = ("_name", "_open", "_pattern")

    def __init__(self, opened: Mapping[str, str], name: str, pattern: str = "{}") -> None:
        self._open, self._name, self._pattern = opened, name, pattern

    def reveal(self) -> str:
        """The value itself, to be handed to the other side and kept nowhere. Raises NotOpen later."""
        try:
            return self._pattern.replace("{}", self._open[self._name])
        except KeyError:
            raise NotOpen(f"the call that was given the secret {self._name} is over") from None

    def within(self, pattern: str) -> Secret:
        """The secret at the place of ``{}``, such as ``Bearer {}``; still a secret."""
        return Secret(self._open, self._name, pattern.replace("{}", self._pattern))

    def __repr__(self) -> str:
        return mask(self._name)

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)

    def __reduce_ex__(self, _: Any) -> NoReturn:
        raise TypeError("a secret cannot be copied, stored or sent")


_given: ContextVar[Mapping[str, str] | None] = ContextVar("secrets of the call", default=None)


def secret(name: str) -> Secret:
    """The secret that the tool whose body runs here declares as `name`.

    Raises NotOpen outside a body or lookup, and for a name that the tool does not declare.
    """
    opened = _given.get()
    if opened is None:
        raise NotOpen("no tool that names secrets is running here")
    if name not in opened:
        known = ", ".join(opened) or "none"
        raise NotOpen(f"this tool declares no secret {name}; it declares: {known}")
    return Secret(opened, name)


def basic_auth(user: str, password: Secret) -> str:
    """The value of an Authorization header for `user` and `password`; masked wherever it is recorded."""
    value = base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()
    remember(value, "password")
    return f"Basic {value}"


@contextmanager
def opened(references: Mapping[str, str], tool: str) -> Iterator[None]:
    """Resolve `references` (by name) and keep them open inside the block, for the code that runs in it.

    Raises SecretMissing and SecretsAway, before the block.
    """
    values = {name: _resolve(reference, name, tool) for name, reference in references.items()}
    token = _given.set(values)
    try:
        yield
    finally:
        _given.reset(token)
        values.clear()


@contextmanager
def pretended(**values: str) -> Iterator[None]:
    """For tests of a tool's function: inside, its secrets have these values."""
    for name, value in values.items():
        remember(value, name)
    token = _given.set(values)
    try:
        yield
    finally:
        _given.reset(token)


def register_resolver(scheme: str, resolver: Resolver) -> None:
    """Resolve references ``scheme:…`` with `resolver`, which is given what follows the colon, at every call.

    Call it before the tools that name it are declared. A LookupError or OSError from it says that there is no
    such secret for this worker; anything else, that the place did not answer. Raises ContractError.
    """
    if not _SCHEME.fullmatch(scheme):
        raise ContractError(f"{scheme!r} cannot be a scheme of secrets; use a to z, 0 to 9, +, . and -")
    if _resolvers.get(scheme, resolver) != resolver:
        raise ContractError(f"Secrets of the scheme {scheme}: have a resolver already")
    _resolvers[scheme] = resolver


def checked(references: Mapping[str, str], tool: str) -> dict[str, str]:
    """The references as declared. Raises ContractError, without what may be the secret itself."""
    for name, reference in references.items():
        if not _NAME.fullmatch(name):
            raise ContractError(f"{tool}: {name!r} cannot be a secret's name; use a to z, 0 to 9 and _")
        scheme, colon, rest = str(reference).partition(":")
        if not colon or not rest or scheme not in _resolvers:
            known = ", ".join(f"{scheme}:…" for scheme in sorted(_resolvers))
            raise ContractError(
                f"{tool}: the secret {name} must be a reference, never the value; known here: {known}"
            )
    return dict(references)


def _resolve(reference: str, name: str, tool: str) -> str:
    scheme, _, rest = reference.partition(":")
    try:
        value = _resolvers[scheme](rest)
    except (LookupError, OSError) as error:
        why = "is not there" if isinstance(error, LookupError | FileNotFoundError) else "cannot be read"
        # Not chained: what a resolver says may hold what must not be told.
        raise SecretMissing(f"{tool} needs the secret {name}, and {reference} {why} here") from None
    except Exception as error:
        said = f"{tool} needs the secret {name}, and {reference} did not answer ({type(error).__name__})"
        raise SecretsAway(said) from None
    if not isinstance(value, str) or not SHORTEST <= len(value) <= LONGEST or "\0" in value:
        raise SecretMissing(
            f"{tool} needs the secret {name}, and {reference} is not a text of {SHORTEST} to {LONGEST} "
            "characters: a shorter one could not be kept out of records"
        )
    remember(value, name)
    return value


def _from_file(path: str) -> str:
    place = Path(path)
    if not place.is_absolute():
        raise LookupError(path)
    with place.open(encoding="utf-8", errors="strict") as file:
        value = file.read(LONGEST + 2)
    return value.removesuffix("\n").removesuffix("\r")


register_resolver("env", os.environ.__getitem__)
register_resolver("file", _from_file)
