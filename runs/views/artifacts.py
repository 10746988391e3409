"""The outputs of a run: a tab with their versions, and their content as a download."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from runs.access import page
from runs.models import Artifact, Run
from runs.values import ContentLost, read_bytes

CONTENT = "runs.view_artifact_content"
SHOWN = 200
TEXT_SHOWN = 20_000  # bytes of a text that the page itself shows
#: A browser that opens the bytes all the same runs nothing in them.
NOTHING_RUNS = "default-src 'none'; sandbox"


@dataclass(frozen=True)
class Shown:
    """One version as the tab shows it; `text` is its beginning where it is text."""

    artifact: Artifact
    text: str = ""
    cut: bool = False
    lost: str = ""


def artifacts_of(run: Run, *, content: bool) -> list[Shown]:
    """The newest versions first, name by name; with `content`, the newest text of each name too."""
    rows = list(run.artifacts.order_by("name", "-version")[:SHOWN])
    seen: set[str] = set()
    shown: list[Shown] = []
    for row in rows:
        newest = row.name not in seen
        seen.add(row.name)
        shown.append(_with_text(row) if content and newest else Shown(row))
    return shown


def _with_text(row: Artifact) -> Shown:
    kind = row.media_type.partition(";")[0]
    if row.size > 50 * TEXT_SHOWN or not (kind.startswith("text/") or kind == "application/json"):
        return Shown(row)
    try:
        raw = read_bytes(row.digest)
    except ContentLost as error:
        return Shown(row, lost=str(error))
    return Shown(row, raw[:TEXT_SHOWN].decode("utf-8", "replace"), cut=len(raw) > TEXT_SHOWN)


@require_safe
@page(CONTENT, "open the content of artifacts")
def artifact(request: HttpRequest, run_id: str, artifact_id: str) -> HttpResponse:
    """The bytes of one version, to be saved: no browser opens them as a page of ours."""
    row = Artifact.objects.filter(pk=artifact_id, run=run_id).first()
    if row is None or not request.user.has_perm("runs.view_run"):
        raise Http404(f"The run {run_id} has no artifact {artifact_id}.")
    try:
        raw = read_bytes(row.digest)
    except ContentLost as error:
        raise Http404(str(error)) from None
    response = HttpResponse(raw, content_type=row.media_type)
    name = f"{row.name} {row.version}{_ending(row)}"
    plain = "".join(
        letter if letter.isascii() and letter.isalnum() or letter in " .-_" else "_" for letter in name
    )
    response["Content-Disposition"] = (
        f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    )
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = NOTHING_RUNS
    return response


def _ending(row: Artifact) -> str:
    endings = {
        "text/plain": ".txt",
        "text/markdown": ".md",
        "text/csv": ".csv",
        "application/json": ".json",
        "application/pdf": ".pdf",
    }
    ending = endings.get(row.media_type.partition(";")[0], "")
    return "" if ending and row.name.lower().endswith(ending) else ending
