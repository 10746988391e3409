"""Values too large for a row: kept once as bytes under their digest, read back when the code needs them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from runs.models import Blob, Step
from runs.stops import NeedsAttention
from runs.turns.checkpoint import Write
from runs.turns.turn import Turn
from tools.canonical import MAX_BYTES, Json, compact

BLOB = ("digest", "content", "size", "created_at")


class ContentLost(Exception):
    """Bytes that were kept are not there any more, or are not what they were."""


def keep_result(turn: Turn, step: Step, result: Json) -> dict[str, Any]:
    """Put `result` (normalised JSON) on record as that of `step`; what the journal says beside its digest.

    One that does not fit in the row goes beside it, to be committed soon: it takes memory until then.
    """
    raw = compact(result)
    if len(raw) <= MAX_BYTES:
        step.result, step.blob = result, ""
        return {}
    step.result, step.blob = None, keep_bytes(turn, raw)
    return {"blob": step.blob, "size": len(raw)}


def keep_bytes(turn: Turn, raw: bytes) -> str:
    """Have `raw` written with the next commit, once for all who keep the same; its digest."""
    digest = hashlib.sha256(raw).hexdigest()
    if not_yet_written(digest, turn.pending.others) is None:
        row = (digest, raw, len(raw), turn.now())
        turn.also(Write(Blob, BLOB, inserts=[row], refills="content"))
    return digest


def not_yet_written(digest: str, waiting: Sequence[Write]) -> bytes | None:
    """The bytes of that digest among the writes that are still to be done."""
    blobs = (row for write in waiting if write.table is Blob for row in write.inserts)
    return next((bytes(row[1]) for row in blobs if row[0] == digest), None)


def result_of(step: Step) -> Json:
    """The recorded result, from its row or from beside it. Raises ContentLost."""
    return json.loads(read_bytes(step.blob)) if step.blob and step.result is None else step.result


def read_bytes(digest: str) -> bytes:
    """The bytes of that digest. Raises ContentLost when they are not there or are not those."""
    content = Blob.objects.filter(pk=digest).values_list("content", flat=True).first()
    if content is None:
        raise ContentLost(f"The content {digest} is no longer kept.")
    raw = bytes(content)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise ContentLost(f"The content {digest} was changed: it is not what was recorded.")
    return raw


def recorded_result(turn: Turn, step: Step) -> Json:
    """The recorded result for the code. Raises NeedsAttention when it is lost."""
    try:
        with turn.needing_the_database():
            raw = not_yet_written(step.blob, turn.pending.others) if step.blob else None
            return json.loads(raw) if raw is not None else result_of(step)
    except ContentLost as error:
        raise turn.stop(
            NeedsAttention("content_lost", f"The result of {step.name} cannot be read: {error}", step=step.id)
        ) from error


def store_result(step: Step, result: Json, at: Any) -> None:
    """For a verb, in its transaction: as `keep_result`, outside a turn."""
    raw = compact(result)
    if len(raw) <= MAX_BYTES:
        step.result, step.blob = result, ""
        return
    step.result, step.blob = None, hashlib.sha256(raw).hexdigest()
    made, new = Blob.objects.get_or_create(
        pk=step.blob, defaults={"content": raw, "size": len(raw), "created_at": at}
    )
    if not new and made.content is None:
        Blob.objects.filter(pk=step.blob, content=None).update(content=raw)
