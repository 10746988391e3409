"""Named outputs: versions, content kept once, what cannot be kept, and the tab with its downloads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from runs import artifacts, engine, journal, services, workflow
from runs.artifacts import ArtifactTooLarge, NoSuchArtifact
from runs.context import Run
from runs.models import Artifact, Blob
from runs.models import Run as RunRow

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


def play(flow: Callable[[Run], Any]) -> RunRow:
    """A run of `flow`, which stops once in the middle of nowhere and is replayed to its end."""

    @workflow.workflow("t.outputs")
    def outputs(run: Run, case: dict[str, Any]) -> Any:
        found = flow(run)
        run.wait_for("go")
        again = flow_values(run)
        return [found, again]

    def flow_values(run: Run) -> Any:
        return run.now() is not None

    row = services.start_run("t.outputs", {}, actor="user:ana")
    engine.advance(row.id, "wrk_a")
    row.refresh_from_db()
    if not row.ended:
        services.send_message(row.id, "go", None, actor="user:ana")
        assert engine.advance(row.id, "wrk_b") is engine.Outcome.ENDED
    row.refresh_from_db()
    assert list(journal.verify(row, row.journal.order_by("seq"))) == []
    return row


def test_it_works() -> None:
    def flow(run: Run) -> Any:
        first = run.artifact("report", "# Ä first", title="The report", media_type="text/markdown")
        second = run.artifact("report", "# second")
        return [first.version, second.version, run.read_artifact(first), run.read_artifact("report")]

    row = play(flow)
    assert row.output[0] == [1, 2, "# Ä first", "# second"]
    kept = list(Artifact.objects.filter(run=row).order_by("version"))
    assert [(one.version, one.title, one.media_type) for one in kept] == [
        (1, "The report", "text/markdown; charset=utf-8"),
        (2, "", "text/plain; charset=utf-8"),
    ]
    assert bytes(Blob.objects.get(pk=kept[0].digest).content or b"").decode() == "# Ä first"
    said = row.journal.filter(kind="artifact.kept").order_by("seq")
    assert [entry.content["digest"] for entry in said if entry.content] == [one.digest for one in kept]


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("text", "text"),
        ("", "text"),
        (b"\x00\xff\xfe", "bytes"),
        ({"b": [1.0, None], "a": "ä"}, "json"),
        ([], "json"),
        (None, "json"),
        ("x" * 400_000, "text"),
    ],
)
def test_what_is_read_is_what_was_kept(content: Any, form: str) -> None:
    seen: list[Any] = []

    def flow(run: Run) -> str:
        kept = run.artifact("out", content)
        seen.append(run.read_artifact(kept))
        return kept.form

    row = play(flow)
    assert row.output[0] == form
    assert seen == [content, content], "the first time and on replay"
    assert [type(one) for one in seen] == [type(content)] * 2


def test_what_is_kept_after_going_back_is_a_further_version() -> None:
    @workflow.workflow("t.back")
    def back(run: Run, case: dict[str, Any]) -> int:
        version = run.artifact("report", "the same").version
        run.sleep(3600)
        return version

    row = services.start_run("t.back", {}, actor="user:ana")
    engine.advance(row.id, "wrk_a")
    services.pause_run(row.id, actor="user:ana", reason="the figures were wrong")
    services.retry_run(row.id, actor="user:ana", reason="the figures are right", from_path="1")
    engine.advance(row.id, "wrk_a")
    row.refresh_from_db()
    assert row.state == "waiting"
    assert list(Artifact.objects.filter(run=row).order_by("version").values_list("version", flat=True)) == [
        1,
        2,
    ]


def test_the_same_content_is_kept_once() -> None:
    def flow(run: Run) -> list[int]:
        return [run.artifact(name, "same").version for name in ("a", "b", "a")]

    row = play(flow)
    assert row.output[0] == [1, 1, 2]
    assert Artifact.objects.filter(run=row).count() == 3
    assert Blob.objects.count() == 1
    play(flow)
    assert Blob.objects.count() == 1


def test_content_that_was_emptied_is_filled_in_again() -> None:
    play(lambda run: run.artifact("a", "same").version)
    Blob.objects.update(content=None)
    play(lambda run: run.artifact("a", "same").version)
    assert bytes(Blob.objects.get().content or b"") == b"same"


@pytest.mark.parametrize("how", ["emptied", "changed", "gone"])
def test_content_that_is_lost_needs_a_person(how: str) -> None:
    @workflow.workflow("t.lost")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        kept = run.artifact("a", "content")
        run.wait_for("go")
        return run.read_artifact(kept)

    row = services.start_run("t.lost", {}, actor="user:ana")
    engine.advance(row.id, "wrk_a")
    if how == "gone":
        Blob.objects.all().delete()
    else:
        Blob.objects.update(content=None if how == "emptied" else b"c0ntent")
    services.send_message(row.id, "go", None, actor="user:ana")
    assert engine.advance(row.id, "wrk_b") is engine.Outcome.NEEDS_ATTENTION
    row.refresh_from_db()
    assert row.attention is not None
    assert row.attention["code"] == "content_lost"


class TestRefused:
    @pytest.mark.parametrize("name", ["", " ", "..", "a/b", "a\\b", "a\nb", "a\x00", "n" * 121, "\u2028"])
    def test_names_that_cannot_be(self, name: str) -> None:
        row = play(lambda run: run.artifact(name, "x").version)
        assert "cannot be the name of an artifact" in row.output["error"]["message"]
        assert not Artifact.objects.exists()

    @pytest.mark.parametrize("media_type", ["text", "text/plain\r\nX: y", "a/b; charset=x", "/"])
    def test_media_types_that_are_none(self, media_type: str) -> None:
        row = play(lambda run: run.artifact("a", "x", media_type=media_type).version)
        assert "is no media type" in row.output["error"]["message"]

    def test_too_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(artifacts, "LARGEST", 10)

        def flow(run: Run) -> str:
            try:
                run.artifact("a", "x" * 11)
            except ArtifactTooLarge as error:
                return str(error)
            return "kept"

        assert play(flow).output[0] == "11 bytes are more than the 10 that an artifact may have"

    def test_no_json(self) -> None:
        row = play(lambda run: run.artifact("a", {"x": float("nan")}).version)
        assert "an artifact is text, bytes or JSON" in row.output["error"]["message"]

    def test_nothing_of_that_name(self) -> None:
        def flow(run: Run) -> str:
            try:
                return str(run.read_artifact("other"))
            except NoSuchArtifact as error:
                return str(error)

        assert play(flow).output[0] == "This run has kept no artifact called other."


class TestPage:
    @pytest.fixture
    def row(self) -> RunRow:
        def flow(run: Run) -> int:
            run.artifact("report.md", "<script>alert(1)</script> old", media_type="text/markdown")
            run.artifact("page \u00e9\"'.html", "<script>alert(1)</script>", media_type="text/html")
            return run.artifact("report.md", "<script>alert(2)</script>", media_type="text/markdown").version

        return play(flow)

    def person(self, *may: str) -> User:
        made = User.objects.create_user("ana", password="x")
        made.user_permissions.add(*Permission.objects.filter(codename__in=may))
        return made

    def test_it_works(self, client: Client, row: RunRow) -> None:
        client.force_login(self.person("view_run", "view_artifact", "view_artifact_content"))
        shown = client.get(reverse("runs:run", args=[row.id]) + "?tab=artifacts").content.decode()
        assert "&lt;script&gt;alert(2)" in shown
        assert "<script>alert" not in shown
        kept = Artifact.objects.get(name="report.md", version=1)
        response = client.get(reverse("runs:artifact", args=[row.id, kept.id]))
        assert response.content == b"<script>alert(1)</script> old"
        assert response["Content-Disposition"].startswith('attachment; filename="report.md 1"')
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"

    def test_a_page_is_only_ever_saved(self, client: Client, row: RunRow) -> None:
        client.force_login(self.person("view_run", "view_artifact", "view_artifact_content"))
        kept = Artifact.objects.get(media_type__startswith="text/html")
        said = client.get(reverse("runs:artifact", args=[row.id, kept.id]))["Content-Disposition"]
        assert (
            said == "attachment; filename=\"page ___.html 1\"; filename*=UTF-8''page%20%C3%A9%22%27.html%201"
        )

    def test_without_the_permission(self, client: Client, row: RunRow) -> None:
        client.force_login(self.person("view_run", "view_artifact"))
        shown = client.get(reverse("runs:run", args=[row.id]) + "?tab=artifacts").content.decode()
        assert "Version 2" in shown
        assert "alert(" not in shown
        assert "artifacts/art_" not in shown
        kept = Artifact.objects.first()
        assert kept is not None
        assert client.get(reverse("runs:artifact", args=[row.id, kept.id])).status_code == 403

    def test_of_another_run(self, client: Client, row: RunRow) -> None:
        client.force_login(self.person("view_run", "view_artifact", "view_artifact_content"))
        kept = Artifact.objects.first()
        assert kept is not None
        assert client.get(f"/runs/run_0/artifacts/{kept.id}/").status_code == 404
        assert client.get(f"/runs/{row.id}/artifacts/art_0/").status_code == 404
        Blob.objects.update(content=None)
        assert client.get(reverse("runs:artifact", args=[row.id, kept.id])).status_code == 404
