"""How long the body of each tool usually takes in this process: before a long one the connection is freed."""

from __future__ import annotations

from django.db import connection

WORTH_IT = 0.02  # seconds; giving a connection back and taking one again costs a few tenths of a millisecond
_SHARE = 0.2  # what the newest body counts for

_usual: dict[str, float] = {}


def took(name: str, seconds: float) -> None:
    """The body of `name` took so long."""
    known = _usual.get(name)
    _usual[name] = seconds if known is None else known + _SHARE * (seconds - known)


def is_slow(name: str) -> bool:
    """Whether `name` is expected to take long; so is what nobody has seen yet."""
    return _usual.get(name, WORTH_IT) >= WORTH_IT


def free_connection() -> None:
    """Give this thread's connection back to the pool, where there is one; never inside a transaction."""
    if connection.vendor == "postgresql" and not connection.in_atomic_block and _pooled():
        connection.close()


def _pooled() -> bool:
    return bool(connection.settings_dict["OPTIONS"].get("pool"))
