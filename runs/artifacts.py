"""Named outputs of runs: what may be kept as one, and how it is read back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from runs.turns.checkpoint import Write
from runs.values import not_yet_written, read_bytes
from tools.canonical import NotJson, compact, normalise

#: The most bytes that one version of an artifact may have.
LARGEST = int(settings.HOLDPOINT_ARTIFACT_BYTES)
MAX_NAME = 120
MAX_TITLE = 200
TEXT, BYTES, JSON = "text", "bytes", "json"
MEDIA_TYPES = {
    TEXT: "text/plain; charset=utf-8",
    BYTES: "application/octet-stream",
    JSON: "application/json",
}
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,40}/[a-z0-9][a-z0-9.+-]{0,50}", re.IGNORECASE)
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f/\\\u2028\u2029\ud800-\udfff]+")


class ArtifactTooLarge(ValueError):
    """The content has more bytes than an artifact may have."""


class NoSuchArtifact(LookupError):
    """The run has kept no artifact of that name."""


@dataclass(frozen=True)
class Kept:
    """One version of a named output, as the workflow holds it. `digest` is the SHA-256 of its bytes."""

    id: str
    name: str
    version: int
    digest: str
    size: int
    media_type: str
    form: str  # text, bytes or json: what reading it gives back

    @property
    def as_json(self) -> dict[str, Any]:
        """What goes on record."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Content:
    """Content on its way to be kept."""

    raw: bytes
    form: str
    media_type: str

    @property
    def digest(self) -> str:
        """SHA-256, in hex."""
        return hashlib.sha256(self.raw).hexdigest()


def content_of(content: Any, media_type: str = "") -> Content:
    """Text, bytes or a value of JSON as bytes. Raises ArtifactTooLarge, NotJson, and ValueError for a media
    type that is none.
    """
    if media_type and not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f"{media_type!r} is no media type, such as text/markdown")
    if isinstance(content, str):
        raw, form = content.encode("utf-8", "replace"), TEXT
        media_type = f"{media_type}; charset=utf-8" if media_type else ""
    elif isinstance(content, bytes | bytearray | memoryview):
        raw, form = bytes(content), BYTES
    else:
        raw, form = compact(_as_json(content)), JSON
    if len(raw) > LARGEST:
        raise ArtifactTooLarge(f"{len(raw)} bytes are more than the {LARGEST} that an artifact may have")
    return Content(raw, form, media_type or MEDIA_TYPES[form])


def _as_json(content: Any) -> Any:
    try:
        return normalise(content, most=LARGEST)
    except NotJson as error:
        raise NotJson(f"an artifact is text, bytes or JSON: {error}") from None


def checked_name(name: str) -> str:
    """The name of an artifact, as it was given. Raises ValueError for one that cannot be."""
    if not isinstance(name, str) or len(name) > MAX_NAME or not _NAME.fullmatch(name) or not name.strip(" ."):
        raise ValueError(
            f"{name!r} cannot be the name of an artifact; use at most {MAX_NAME} characters, no /"
        )
    return name


def read_content(kept: Kept, waiting: Sequence[Write] = ()) -> Any:
    """What was kept, as text, bytes or JSON; `waiting` are writes that may hold it still. Raises
    values.ContentLost.
    """
    raw = not_yet_written(kept.digest, waiting)
    if raw is None:
        raw = read_bytes(kept.digest)
    if kept.form == TEXT:
        return raw.decode()
    return json.loads(raw) if kept.form == JSON else raw
