"""JSON that both databases keep alike: one door in, one byte form, one digest, and ids in order of time."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import secrets
import time
from collections.abc import Mapping
from enum import Enum
from typing import Any

import rfc8785
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

#: None, bool, int, float, str, list or dict with text keys.
Json = Any

MAX_INT = 2**53 - 1  # beyond it, readers that keep numbers as binary floats see another number
MAX_DEPTH = 64
MAX_BYTES = 256 * 1024

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Made once: json.dumps with these options makes an encoder at each call.
_sorted = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
#: Where a value stands: the place of what holds it, and its key or index there.
_Place = tuple["_Place", str | int] | None
# PostgreSQL refuses NUL in text and jsonb; a lone surrogate cannot be written as UTF-8 at all.
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
_ALPHABET = str.maketrans("abcdefghijklmnopqrstuvwxyz234567", "0123456789abcdefghijklmnopqrstuv")


class NotJson(ValueError):
    """The value cannot be kept as JSON; the message says where and why."""


def normalise(value: Any, *, most: int = MAX_BYTES) -> Json:
    """`value` as plain JSON that SQLite and PostgreSQL keep and give back alike.

    Objects that pydantic can write as JSON (models, dataclasses, decimals, dates, enums) are written so. NUL
    and lone surrogates in text become U+FFFD. Doing it twice changes nothing.

    Raises NotJson for NaN and infinities, numbers beyond 2**53 - 1, keys that are not text or that collide,
    sets and binary content, more than 64 levels, more than `most` bytes.
    """
    try:
        plain = _plain(value, None, 0)
    except NotJson:
        raise
    except Exception as error:  # code of the value's own
        raise NotJson(f"a {type(value).__name__} cannot be read ({type(error).__name__})") from error
    size = len(compact(plain))
    if size > most:
        raise NotJson(f"{size} bytes of JSON are more than the {most} that fit here; keep it as an artifact")
    return plain


def in_kept_order(value: Json) -> Json:
    """The same value with its keys in the order in which PostgreSQL keeps them.

    So what was just made and what is read back from either database are gone through in the same order.
    """
    if isinstance(value, dict):
        return {key: in_kept_order(value[key]) for key in sorted(value, key=_kept_place)}
    if isinstance(value, list):
        return [in_kept_order(item) for item in value]
    return value


def _kept_place(key: str) -> tuple[int, bytes]:
    raw = key.encode()
    return len(raw), raw


def parse(text: str | bytes, *, most: int = MAX_BYTES) -> Json:
    """JSON text from outside as a normalised value, of at most `most` bytes.

    Raises NotJson for text that is not JSON, that names a key twice, or that `normalise` refuses.
    """
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)
    except NotJson:
        raise
    except RecursionError:
        raise NotJson(f"more than {MAX_DEPTH} levels of lists and objects") from None
    except UnicodeDecodeError:
        raise NotJson("this is not text in UTF-8") from None
    except ValueError as error:
        raise NotJson(f"this is not JSON: {error}") from None
    return normalise(value, most=most)


def canonical(value: Json) -> bytes:
    """The bytes of RFC 8785: the same for equal values, whatever their order of keys.

    Raises NotJson for what has no such form; normalised values always have one.
    """
    try:
        if _is_simple(value):
            return _sorted(value).encode()
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotJson(str(error)) from None


def digest(value: Json) -> str:
    """SHA-256 over the canonical bytes, in hex (64 characters)."""
    return hashlib.sha256(canonical(value)).hexdigest()


def new_id(prefix: str) -> str:
    """A new id such as ``run_01…``: 26 characters of lowercase base32, later ids sort after earlier ones.

    52 bits of microseconds, then 76 random bits: unique without asking anybody.
    """
    moment = time.time_ns() // 1000 & (2**52 - 1)
    number = (moment << 76 | secrets.randbits(76)) << 2  # 130 bits: 26 digits of five
    packed = (number << 30).to_bytes(20, "big")
    return f"{prefix}_{base64.b32encode(packed).decode().lower().translate(_ALPHABET)[:26]}"


def compact(value: Json) -> bytes:
    """A normalised `value` as JSON text without blanks, keys in their own order."""
    return to_json(value)


def _plain(value: Any, place: _Place, depth: int) -> Json:
    kind = type(value)
    if kind is str:
        return _UNKEEPABLE.sub(_REPLACEMENT, value)
    if value is None or kind is bool:
        return value
    if isinstance(value, Enum):
        return _plain(value.value, place, depth)
    if isinstance(value, str):
        return _UNKEEPABLE.sub(_REPLACEMENT, "".join(value))
    if isinstance(value, int | float):
        return _number(value, place)
    is_object = kind is dict or isinstance(value, Mapping)
    if not is_object and not isinstance(value, list | tuple):
        return _written(value, place, depth)
    if depth >= MAX_DEPTH:
        raise NotJson(f"{_spelled(place)[:80]}: more than {MAX_DEPTH} levels of lists and objects")
    if is_object:
        return _object(value, place, depth)
    return [_plain(item, (place, index), depth + 1) for index, item in enumerate(value)]


def _spelled(place: _Place) -> str:
    """The place in words, such as ``$.lines[2].amount``; only made when there is something to say."""
    parts: list[str] = []
    while place is not None:
        place, key = place
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return "$" + "".join(reversed(parts))


def _number(value: float, place: _Place) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        raise NotJson(f"{_spelled(place)}: {value} is not a number that JSON can carry")
    # Beyond this a database may hand back an integer for a float, and the digest would change.
    if abs(value) > MAX_INT:
        raise NotJson(f"{_spelled(place)}: the number is beyond {MAX_INT}; carry it as text")
    if isinstance(value, int):
        return int(value)
    return float(value) or 0.0  # jsonb knows no negative zero


def _object(value: Mapping[Any, Any], place: _Place, depth: int) -> dict[str, Json]:
    plain: dict[str, Json] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotJson(f"{_spelled(place)}: the key {key!r} is not text")
        name = _plain(key, place, depth)
        if name in plain:
            raise NotJson(f"{_spelled(place)}: the key {name!r} is there twice")
        plain[name] = _plain(item, (place, name), depth + 1)
    return plain


def _written(value: Any, place: _Place, depth: int) -> Json:
    if isinstance(value, set | frozenset):
        raise NotJson(f"{_spelled(place)}: a set has no order; use a list")
    if isinstance(value, bytes | bytearray | memoryview):
        raise NotJson(f"{_spelled(place)}: binary content; keep it as an artifact or as base64 text")
    if hasattr(value, "__next__"):
        raise NotJson(f"{_spelled(place)}: {type(value).__name__} can be read only once; use a list")
    try:
        written = to_jsonable_python(value, by_alias=True, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, RecursionError):
        raise NotJson(f"{_spelled(place)}: a {type(value).__name__} has no form in JSON") from None
    return _plain(written, place, depth)


def _is_simple(value: Json) -> bool:
    """Whether json's own fast encoder gives the bytes of RFC 8785: no floats, ASCII keys, small integers."""
    if isinstance(value, str):
        return True
    if isinstance(value, dict):
        return all(isinstance(key, str) and key.isascii() for key in value) and all(
            map(_is_simple, value.values())
        )
    if isinstance(value, list):
        return all(map(_is_simple, value))
    if isinstance(value, int):
        return -MAX_INT <= value <= MAX_INT
    return value is None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise NotJson(f"the key {key[:80]!r} is there twice")
        found[key] = value
    return found


def _no_constant(name: str) -> None:
    raise NotJson(f"{name} is not a number that JSON can carry")
