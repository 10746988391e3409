"""Keeps the values of secrets out of what is recorded, shown and logged: found by value, and masked."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

#: A shorter value would be found in ordinary text; no secret may be shorter.
SHORTEST = 8
#: So many values are looked for at once; the oldest is forgotten first, and remembered again when it is used.
MOST = 256

_lock = threading.Lock()
_masks: dict[str, str] = {}
_forms: tuple[tuple[str, str], ...] = ()


def mask(name: str) -> str:
    """What stands where the secret of that name would."""
    return f"[secret {name}]"


def remember(value: str, name: str) -> None:
    """From now on this process masks `value`, in every form in which it is usually written."""
    global _forms
    if value in _masks:
        return
    with _lock:
        _masks[value] = mask(name)
        while len(_masks) > MOST:
            del _masks[next(iter(_masks))]
        forms = {form: hidden for known, hidden in list(_masks.items()) for form in _written(known)}
        # The longest first: one value may be a part of another.
        _forms = tuple(sorted(forms.items(), key=lambda pair: -len(pair[0])))


def scrub_text(text: str) -> str:
    """`text` with every secret that this process has used masked."""
    for form, hidden in _forms:
        if form in text:
            text = text.replace(form, hidden)
    return text


def scrub(value: Any) -> Any:
    """The same JSON, or the same value of a log's entry, with the secrets in its texts and keys masked."""
    if not _forms:
        return value
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, dict):
        return {scrub(key): scrub(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item) for item in value]
    return value


def _written(value: str) -> Iterator[str]:
    """As it is, in JSON, in Python, in a URL, in base64; of a key of many lines also each line."""
    raw = value.encode("utf-8", "surrogatepass")
    lines = [line.strip() for line in value.splitlines()] if "\n" in value else []
    forms = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        quote(raw),
        quote(raw, safe=""),
        quote_plus(raw),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        *(line for line in lines if len(line) >= 2 * SHORTEST and not line.startswith("-----")),
    }
    return (form for form in forms if len(form) >= SHORTEST)
