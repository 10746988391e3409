"""The append-only, hash-chained record of a run: sealing entries and proving the chain.

Each entry seals its fields, the digest of its content and the hash of the entry before it, under an HMAC
whose key lies outside the database. The run row holds the head: a missing tail shows as well.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from runs.models import JournalEntry, Run
from tools.canonical import canonical
from tools.scrubbing import scrub, scrub_text


@dataclass(frozen=True)
class Entry:
    """What is to be recorded: a `kind` for machines, a `sentence` for people, the details in `content`."""

    kind: str
    sentence: str
    content: dict[str, Any] = field(default_factory=dict)
    step_id: str = ""
    actor: str | None = None  # None: whoever appends


@dataclass(slots=True)
class Sealed:
    """A sealed entry that is not written yet: the columns of its row, without the price of a model."""

    run_id: str
    seq: int
    at: datetime
    actor: str
    kind: str
    sentence: str
    step_id: str
    content: dict[str, Any]
    digest: bytes
    previous: bytes
    key_id: str
    mac: bytes = b""


@dataclass(frozen=True)
class Head:
    """The end of a chain: the number of its last entry and that entry's hash (empty before the first)."""

    seq: int
    hash: bytes


@dataclass(frozen=True)
class Break:
    """Where a chain does not hold, and why."""

    run_id: str
    seq: int
    reason: str


def signing_key() -> tuple[str, bytes]:
    """The id and the secret of the key that seals new entries: the first of HOLDPOINT_JOURNAL_KEYS.

    Raises ImproperlyConfigured when there is none.
    """
    keys: dict[str, bytes] = settings.HOLDPOINT_JOURNAL_KEYS
    if not keys:
        raise ImproperlyConfigured("No journal key: set HOLDPOINT_JOURNAL_KEYS to id:secret.")
    key_id = next(iter(keys))
    return key_id, keys[key_id]


def seal(
    run_id: str, head: Head, entries: Iterable[Entry], *, actor: str, at: datetime
) -> tuple[list[Sealed], Head]:
    """Chain `entries` onto `head`: what is to be written and the new head. `at` is in UTC."""
    key_id, secret = signing_key()
    rows: list[Sealed] = []
    seq, previous = head.seq, head.hash
    for entry in entries:
        seq += 1
        content = scrub(entry.content)
        row = Sealed(
            run_id=run_id,
            seq=seq,
            at=at,
            actor=entry.actor or actor,
            kind=entry.kind,
            sentence=scrub_text(entry.sentence),
            step_id=entry.step_id,
            content=content,
            digest=hashlib.sha256(canonical(content)).digest(),
            previous=previous,
            key_id=key_id,
        )
        sealed = hash_of(row)
        row.mac = hmac.digest(secret, sealed, "sha256")
        rows.append(row)
        previous = sealed
    return rows, Head(seq, previous)


def hash_of(row: Sealed | JournalEntry) -> bytes:
    """SHA-256 over everything in the entry that must not change; content counts by its digest alone."""
    fields = (
        row.run_id,
        str(row.seq),
        row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        row.actor,
        row.kind,
        row.sentence,
        row.step_id,
        bytes(row.digest).hex(),
        bytes(row.previous).hex(),
        row.key_id,
    )
    raw = [text.encode() for text in fields]
    # Lengths first, so that no two different entries spell the same bytes.
    return hashlib.sha256(b"".join([len(text).to_bytes(4, "big") + text for text in raw])).digest()


def verify(run: Run, entries: Iterable[JournalEntry]) -> Iterator[Break]:
    """Every place where the chain of `run` does not hold; nothing when it is whole."""
    seq, previous = 0, b""
    for row in entries:
        seq += 1
        if row.seq != seq:
            yield Break(run.id, seq, f"entry {seq} is missing; the next one is {row.seq}")
            seq = row.seq
        elif bytes(row.previous) != previous:
            yield Break(run.id, seq, "it does not follow from the entry before it")
        yield from _entry_breaks(row)
        previous = hash_of(row)
    if (run.head_seq, bytes(run.head_hash)) != (seq, previous):
        yield Break(
            run.id, seq, f"the run's head is entry {run.head_seq}, and the journal does not end there"
        )


def _entry_breaks(row: JournalEntry) -> Iterator[Break]:
    if row.content is not None and hashlib.sha256(canonical(row.content)).digest() != bytes(row.digest):
        yield Break(row.run_id, row.seq, "its content was changed")
    secret = settings.HOLDPOINT_JOURNAL_KEYS.get(row.key_id)
    if secret is None:
        yield Break(row.run_id, row.seq, f"its key {row.key_id} is not in HOLDPOINT_JOURNAL_KEYS")
    elif not hmac.compare_digest(hmac.digest(secret, hash_of(row), "sha256"), bytes(row.mac)):
        yield Break(row.run_id, row.seq, "its seal is not ours: the entry was changed or forged")
