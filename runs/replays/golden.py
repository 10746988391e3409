"""Golden histories: records of runs as files, against which later code is replayed before a deploy."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.apps import apps

from runs.models import Artifact, Run, Step
from runs.replays.turn import Record
from runs.services.record import NotPossible, found_run
from runs.values import read_bytes

FORMAT = "holdpoint.history/1"
FOLDER = "golden"
_RUN = ("id", "workflow", "version", "state", "requester", "generation", "input", "output", "continued_by")
_STEP = ("path", "position", "kind", "name", "state", "fingerprint", "effect", "attempt", "model")
_CONTENT = ("arguments", "result", "error", "blob")


class NotAHistory(ValueError):
    """A file is not a history that `runs export` wrote."""


def export_run(run_id: str) -> dict[str, Any]:
    """The record of a run as JSON, with what it was given and returned. Raises NotFound, and NotPossible
    when its contents are no longer kept.
    """
    run = found_run(run_id)
    if run.purged_at is not None:
        raise NotPossible(f"The contents of {run_id} are no longer kept.", code="archived")
    steps = list(run.steps.exclude(path__contains="~").order_by("position"))
    digests = {step.blob for step in steps if step.blob}
    digests |= set(Artifact.objects.filter(run=run).values_list("digest", flat=True))
    return {
        "format": FORMAT,
        "run": {name: getattr(run, name) for name in _RUN} | {"created_at": run.created_at.isoformat()},
        "steps": [{name: getattr(step, name) for name in (*_STEP, *_CONTENT)} for step in steps],
        "blobs": {digest: base64.b64encode(read_bytes(digest)).decode() for digest in sorted(digests)},
    }


def _what_is_wrong(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")


def as_text(history: dict[str, Any]) -> str:
    """The history as the text of a file, the same for the same history."""
    return json.dumps(history, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def read(path: Path) -> Record:
    """The record that stands in the file. Raises NotAHistory, and OSError."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["format"] != FORMAT:
            raise NotAHistory(f"{path} is of the format {kept['format']}; this release reads {FORMAT}.")
        run = Run(**{**kept["run"], "created_at": datetime.fromisoformat(kept["run"]["created_at"])})
        steps = [Step(run_id=run.id, epoch=0, started_at=run.created_at, **step) for step in kept["steps"]]
        blobs = {digest: base64.b64decode(content) for digest, content in kept["blobs"].items()}
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, NotAHistory):
            raise
        said = f"{path} is not a history that runs export wrote: {_what_is_wrong(error)}."
        raise NotAHistory(said) from error
    return Record(run, steps, blobs)


def discover(further: Iterable[Path] = ()) -> list[Path]:
    """The files in the folder ``golden`` of every installed app, and those in the `further` folders.

    Raises NotADirectoryError for a further folder that is not there.
    """
    found = [path for app in apps.get_app_configs() for path in sorted(Path(app.path, FOLDER).glob("*.json"))]
    for folder in further:
        if not folder.is_dir():
            raise NotADirectoryError(f"There is no folder {folder}.")
        found += sorted(folder.glob("*.json"))
    return found
