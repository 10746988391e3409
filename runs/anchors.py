"""Anchors: signed lists of the journals' heads that leave the database, so that a cut-off journal shows.

A chain proves that nothing inside it was changed; that its end was not cut off together with the run's head
only somebody outside can know. Each anchor names the head of every run that moved since the one before, and
the digest of that one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from runs.clock import db_now
from runs.journal import Break, hash_of, signing_key
from runs.models import Anchor, JournalEntry
from runs.turns.checkpoint import own_transaction
from tools.canonical import canonical

#: Entries younger than this may have neighbours whose transaction has not ended: they wait for the next one.
SETTLED_AFTER = timedelta(seconds=60)
MOST = 50_000  # entries in one anchor


@dataclass(frozen=True)
class Heads:
    """The last entry of each run among the entries after one number, up to another."""

    up_to: int
    by_run: dict[str, tuple[int, str]]


def make_anchor() -> Anchor | None:
    """Write the next anchor; None when nothing has moved. Whoever else makes the same one is first or second.

    Raises OSError when the folder cannot be written to: then nothing is kept, and the next round tries again.
    """
    before = Anchor.objects.order_by("-up_to").first()
    heads = _heads_after(before.up_to if before else 0)
    if heads is None:
        return None
    content = {
        "up_to": heads.up_to,
        "made_at": db_now().isoformat(),
        "previous": before.digest if before else "",
        "runs": {run: list(head) for run, head in sorted(heads.by_run.items())},
    }
    anchor = Anchor(
        made_at=db_now(),
        up_to=heads.up_to,
        runs=len(heads.by_run),
        digest=hashlib.sha256(canonical(content)).hexdigest(),
        name=f"anchor-{heads.up_to:012d}.json",
    )
    try:
        with own_transaction():
            anchor.save(force_insert=True)
            _keep(anchor.name, content, anchor.digest)
    except IntegrityError:
        return None
    return anchor


def _heads_after(number: int) -> Heads | None:
    rows = JournalEntry.objects.filter(id__gt=number, recorded_at__lt=db_now() - SETTLED_AFTER)
    by_run: dict[str, JournalEntry] = {}
    last = 0
    for row in rows.order_by("id")[:MOST].iterator():
        last = row.id
        if row.run_id not in by_run or by_run[row.run_id].seq < row.seq:
            by_run[row.run_id] = row
    if not last:
        return None
    return Heads(last, {run: (row.seq, hash_of(row).hex()) for run, row in by_run.items()})


def _keep(name: str, content: dict[str, Any], digest: str) -> None:
    """The file, whole or not at all, readable by its owner alone."""
    key_id, secret = signing_key()
    mac = hmac.digest(secret, bytes.fromhex(digest), "sha256").hex()
    folder = Path(settings.HOLDPOINT_ANCHORS)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{name}.{os.getpid()}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"content": content, "digest": digest, "key": key_id, "mac": mac}, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / name)


# Proving


def verify_anchors(folder: Path) -> Iterator[Break]:
    """Every place where the journals no longer fit the anchors in `folder`, and where an anchor is forged.

    The first anchor of a folder may follow one that is not there. Raises OSError for an unreadable folder.
    """
    previous = None
    for path in sorted(folder.glob("anchor-*.json")):
        kept = json.loads(path.read_text())
        problem = _forged(kept)
        if problem:
            yield Break(path.name, 0, problem)
            continue
        if previous is not None and kept["content"]["previous"] != previous:
            yield Break(path.name, 0, "the anchor before it is missing or another one")
        previous = kept["digest"]
        yield from _missing(kept["content"]["runs"])


def _forged(kept: dict[str, Any]) -> str:
    digest = hashlib.sha256(canonical(kept["content"])).hexdigest()
    secret = settings.HOLDPOINT_JOURNAL_KEYS.get(kept["key"])
    if secret is None:
        return f"its key {kept['key']} is not in HOLDPOINT_JOURNAL_KEYS"
    mac = hmac.digest(secret, bytes.fromhex(digest), "sha256").hex()
    ours = digest == kept["digest"] and hmac.compare_digest(mac, kept["mac"])
    return "" if ours else "its seal is not ours: the anchor was changed or forged"


def _missing(heads: dict[str, list[Any]]) -> Iterator[Break]:
    wanted: Iterable[tuple[str, tuple[int, str]]] = ((run, (seq, hash)) for run, (seq, hash) in heads.items())
    for run_id, (seq, known) in wanted:
        row = JournalEntry.objects.filter(run_id=run_id, seq=seq).first()
        if row is None:
            yield Break(run_id, seq, "an anchor knows this entry, and the journal no longer has it")
        elif hash_of(row).hex() != known:
            yield Break(run_id, seq, "an anchor knows another entry at this place")
