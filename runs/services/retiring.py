"""What is done with runs that ended long ago: put away, and emptied of what they held."""

from __future__ import annotations

from runs import retention
from runs.actors import current
from runs.clock import db_now
from runs.journal import Entry
from runs.models import Artifact, Blob, JournalEntry, Message, Run, Step
from runs.services.record import NotPossible, append_entries, lock_run
from runs.turns.checkpoint import own_transaction
from tools.models import ToolCall


def archive_run(run_id: str) -> bool:
    """Take an ended run out of the working lists; False when it is out already."""
    with own_transaction():
        run = _ended(run_id)
        if run.archived_at is not None:
            return False
        run.archived_at = db_now()
        append_entries(run, [Entry("run.archived", "Put away: it ended long ago")], actor=current())
        run.save(update_fields=["archived_at"])
    return True


def purge_contents(run_id: str) -> bool:
    """Empty an ended run of what it was given, did and said; False when that was done already.

    States, times, sentences and digests stay, so the journal still verifies. Raises NotPossible while the run
    goes on.
    """
    with own_transaction():
        run = _ended(run_id)
        if run.purged_at is not None:
            return False
        run.purged_at, run.input, run.output = db_now(), {}, None
        run.save(update_fields=["purged_at", "input", "output"])
        emptied = _empty(run) | retention.purge_others(run.id)
        said = "Its contents were kept as long as they had to be, and are gone"
        append_entries(run, [Entry("run.purged", said, {"rows": emptied})], actor=current())
    return True


def _empty(run: Run) -> dict[str, int]:
    steps = Step.objects.filter(run=run)
    large = set(steps.exclude(blob="").values_list("blob", flat=True))
    emptied = {
        "steps": steps.update(arguments=None, result=None, error=None),
        "tool calls": ToolCall.objects.filter(run_id=run.id).exclude(error="").update(error=""),
        "messages": Message.objects.filter(run=run).update(payload=None),
        "journal": JournalEntry.objects.filter(run=run, content__isnull=False).update(content=None),
    }
    return emptied | {"large results": _forget(large)}


def purge_artifacts(run_id: str) -> bool:
    """Empty the artifacts of an ended run, except what other runs still hold; False when done already."""
    with own_transaction():
        run = _ended(run_id)
        if run.artifacts_purged_at is not None:
            return False
        run.artifacts_purged_at = db_now()
        run.save(update_fields=["artifacts_purged_at"])
        digests = set(Artifact.objects.filter(run=run).values_list("digest", flat=True))
        if digests:
            content = {"artifacts": _forget(digests)}
            said = "Its artifacts were kept as long as they had to be, and are gone"
            append_entries(run, [Entry("run.artifacts_purged", said, content)], actor=current())
    return True


def _forget(digests: set[str]) -> int:
    """Empty the blobs that no run holds any more: how many.

    Whoever keeps one at this moment holds its row. So the rows are locked first, in a statement of its own,
    and only then is it asked who holds them.
    """
    there = Blob.objects.select_for_update().filter(digest__in=digests)
    list(there.order_by("digest").values_list("digest", flat=True))
    held = Step.objects.filter(blob__in=digests, run__purged_at=None).values_list("blob", flat=True)
    shown = Artifact.objects.filter(digest__in=digests, run__artifacts_purged_at=None)
    free = digests - set(held) - set(shown.values_list("digest", flat=True))
    return Blob.objects.filter(digest__in=free).update(content=None)


def _ended(run_id: str) -> Run:
    run = lock_run(run_id)
    if not run.ended:
        raise NotPossible(f"{run.id} is {run.state}: only what has ended is put away.")
    return run
