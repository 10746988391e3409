"""Anchors: what was cut off a journal shows, even when the run's head was cut with it."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pydantic import BaseModel

from runs import anchors, engine, services, workflow
from runs.context import Run
from runs.journal import hash_of
from runs.models import Anchor, JournalEntry
from runs.models import Run as RunRow

pytestmark = pytest.mark.django_db(transaction=True)


class Case(BaseModel):
    """An input."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.HOLDPOINT_ANCHORS = str(tmp_path / "anchors")
    monkeypatch.setattr(anchors, "SETTLED_AFTER", timedelta(0))
    return tmp_path / "anchors"


@pytest.fixture
def ended() -> RunRow:
    @workflow.workflow("test.anchored")
    def flow(run: Run, case: Case) -> str:
        return str(run.uuid())

    run = services.start_run("test.anchored", {}, actor="user:ana")
    engine.advance(run.id, "wrk_test")
    return RunRow.objects.get(pk=run.id)


def verify(folder: Path) -> str:
    out = StringIO()
    call_command("journal", "verify", "--anchors", str(folder), stdout=out)
    return out.getvalue()


def cut_off(run: RunRow) -> None:
    """As somebody with the database in hand would: the last entry, and the head with it."""
    last = run.journal.latest("seq")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE runs_journalentry DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM runs_journalentry WHERE id = %s", [last.id])
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE runs_journalentry ENABLE TRIGGER USER")
    left = run.journal.latest("seq")
    RunRow.objects.filter(pk=run.pk).update(head_seq=left.seq, head_hash=hash_of(left))


class TestAnchors:
    def test_it_works(self, ended: RunRow, folder: Path) -> None:
        anchor = anchors.make_anchor()
        assert anchor is not None
        kept = json.loads((folder / anchor.name).read_text())
        assert kept["content"]["runs"] == {ended.id: [ended.head_seq, bytes(ended.head_hash).hex()]}
        assert (folder / anchor.name).stat().st_mode & 0o777 == 0o600
        assert "every chain holds" in verify(folder)

    def test_nothing_new_is_nothing_to_write(self, ended: RunRow) -> None:
        assert anchors.make_anchor() is not None
        assert anchors.make_anchor() is None
        assert Anchor.objects.count() == 1

    def test_each_names_the_one_before(self, ended: RunRow, folder: Path) -> None:
        first = anchors.make_anchor()
        services.start_run("test.anchored", {}, actor="user:ana")
        second = anchors.make_anchor()
        assert first is not None and second is not None
        assert json.loads((folder / second.name).read_text())["content"]["previous"] == first.digest

    def test_a_tail_that_was_cut_off_shows(self, ended: RunRow, folder: Path) -> None:
        anchors.make_anchor()
        cut_off(ended)
        call_command("journal", "verify", stdout=StringIO())  # the chain alone does not know
        with pytest.raises(CommandError, match="1 places do not hold"):
            verify(folder)

    def test_a_forged_anchor_shows(self, ended: RunRow, folder: Path) -> None:
        anchor = anchors.make_anchor()
        assert anchor is not None
        path = folder / anchor.name
        kept = json.loads(path.read_text())
        kept["content"]["runs"] = {}
        path.write_text(json.dumps(kept))
        (found,) = anchors.verify_anchors(folder)
        assert "forged" in found.reason

    def test_a_missing_anchor_shows(self, ended: RunRow, folder: Path) -> None:
        made = [anchors.make_anchor()]
        for _ in range(2):
            services.start_run("test.anchored", {}, actor="user:ana")
            made.append(anchors.make_anchor())
        assert made[1] is not None
        (folder / made[1].name).unlink()
        assert [found.reason for found in anchors.verify_anchors(folder)] == [
            "the anchor before it is missing or another one"
        ]

    def test_a_folder_that_cannot_be_written_keeps_nothing(
        self, ended: RunRow, settings: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        settings.HOLDPOINT_ANCHORS = str(tmp_path / "file")
        with pytest.raises(OSError):
            anchors.make_anchor()
        assert not Anchor.objects.exists()

    def test_an_empty_folder_is_no_proof(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="no anchors"):
            verify(tmp_path)

    def test_entries_that_may_have_open_neighbours_wait(
        self, ended: RunRow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(anchors, "SETTLED_AFTER", timedelta(hours=1))
        assert JournalEntry.objects.exists()
        assert anchors.make_anchor() is None
