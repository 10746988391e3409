"""A new version of a named output: its bytes kept once under their digest, its row with the next commit."""

from __future__ import annotations

from typing import Any

from django.db.models import Max

from runs.artifacts import Content, Kept, NoSuchArtifact, read_content
from runs.models import Artifact, Step
from runs.states import StepState
from runs.steps.value import record_value
from runs.stops import NeedsAttention
from runs.turns.checkpoint import Write
from runs.turns.turn import Turn
from runs.values import ContentLost, keep_bytes
from tools.canonical import MAX_BYTES, digest, new_id

COLUMNS = (
    "id",
    "run_id",
    "name",
    "version",
    "title",
    "media_type",
    "digest",
    "size",
    "step_id",
    "created_at",
)


def keep_artifact(turn: Turn, path: str, name: str, content: Content, title: str) -> Kept:
    """The version of the output `name` that holds `content`: from the record, or made now."""
    asked = {"name": name, "digest": content.digest, "media_type": content.media_type}
    step = turn.find(path, "artifact", name, digest(asked), arguments=asked)
    if step is not None:
        return _kept(step)
    with turn.needing_the_database():
        version = _latest(turn, name) + 1
    step = turn.new_step(
        path,
        "artifact",
        name,
        digest(asked),
        state=StepState.SUCCEEDED.value,
        arguments=asked,
        finished_at=turn.now(),
    )
    kept = Kept(
        id=new_id("art"),
        name=name,
        version=version,
        digest=content.digest,
        size=len(content.raw),
        media_type=content.media_type,
        form=content.form,
    )
    step.result = kept.as_json
    keep_bytes(turn, content.raw)
    row = (kept.id, turn.run.id, name, version, title, kept.media_type, kept.digest, kept.size, step.id)
    turn.also(Write(Artifact, COLUMNS, inserts=[(*row, turn.now())], once=True))
    said = {"artifact": kept.id, "version": version, "digest": kept.digest, "size": kept.size}
    turn.note("artifact.kept", f"Kept {name}, version {version}", step, **said)
    if kept.size > MAX_BYTES:
        turn.commit()  # not to hold it in memory
    return kept


def _latest(turn: Turn, name: str) -> int:
    """The number of the newest version of `name`, 0 for none."""
    made = [kept.version for kept in _versions(turn, name)]
    if turn.run.generation:
        # Steps that a person had done over are not loaded; the versions that they made stay.
        rows = Artifact.objects.filter(run_id=turn.run.id, name=name)
        made.append(rows.aggregate(latest=Max("version"))["latest"] or 0)
    return max(made, default=0)


def _versions(turn: Turn, name: str) -> list[Kept]:
    return [_kept(step) for step in turn.steps.values() if step.kind == "artifact" and step.name == name]


def _kept(step: Step) -> Kept:
    recorded: dict[str, Any] = step.result or {}
    return Kept(**recorded)


def newest(turn: Turn, path: str, name: str) -> Kept:
    """The newest version of `name` as this line is first reached, recorded. Raises NoSuchArtifact."""

    def look() -> Any:
        latest = max(_versions(turn, name), key=lambda kept: kept.version, default=None)
        return latest.as_json if latest else None

    found = record_value(turn, path, f"the artifact {name}"[:120], look, said=f"Looks up the artifact {name}")
    if found is None:
        raise NoSuchArtifact(f"This run has kept no artifact called {name}.")
    return Kept(**found)


def read_artifact(turn: Turn, kept: Kept) -> Any:
    """Its content as it was given. Raises NeedsAttention when it is no longer there."""
    turn.go_on_only_if_running()
    try:
        with turn.needing_the_database():
            return read_content(kept, waiting=turn.pending.others)
    except ContentLost as error:
        raise turn.stop(
            NeedsAttention("content_lost", f"The artifact {kept.name} cannot be read: {error}")
        ) from error
