"""What ended long ago is put away and emptied; the journal still proves what happened."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from pydantic import BaseModel

from runs import engine, retention, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Artifact, Blob, JournalEntry, Step
from runs.models import Run as RunRow
from runs.pages.queries import RunFilter, run_list
from runs.workflow import Keep
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]


class Case(BaseModel):
    """An input that holds something personal."""

    name: str = "Ana"


@pytest.fixture
def ended() -> RunRow:
    @tool(effect="read")
    def look(name: str) -> str:
        """Look."""
        return f"{name} was seen"

    @workflow.workflow("test.kept", keep=Keep(contents_days=30))
    def flow(run: Run, case: Case) -> str:
        return str(run.tool(look, case.name))

    run = services.start_run("test.kept", {}, actor="user:ana")
    engine.advance(run.id, "wrk_test")
    return RunRow.objects.get(pk=run.id)


def ago(run: RunRow, days: float) -> None:
    RunRow.objects.filter(pk=run.pk).update(finished_at=db_now() - timedelta(days=days))


def sweep() -> dict[str, int]:
    timers._next.clear()
    return timers.sweep()


class TestContents:
    def test_it_works_and_the_journal_still_verifies(self, ended: RunRow) -> None:
        ago(ended, 31)
        assert sweep()["runs.purge"] == 1
        ended.refresh_from_db()
        assert (ended.input, ended.output) == ({}, None)
        assert ended.purged_at is not None
        assert not Step.objects.exclude(arguments=None, result=None, error=None).exists()
        kept = JournalEntry.objects.exclude(kind="run.purged").exclude(content=None)
        assert not kept.exists()
        call_command("journal", "verify", ended.id)
        assert ended.journal.latest("seq").sentence.endswith("are gone")

    def test_what_is_younger_stays(self, ended: RunRow) -> None:
        ago(ended, 29)
        assert sweep()["runs.purge"] == 0
        ended.refresh_from_db()
        assert ended.output == "Ana was seen"

    def test_twice_does_nothing_more(self, ended: RunRow) -> None:
        assert services.purge_contents(ended.id)
        head = RunRow.objects.get(pk=ended.id).head_seq
        assert not services.purge_contents(ended.id)
        assert RunRow.objects.get(pk=ended.id).head_seq == head

    def test_a_run_that_goes_on_keeps_everything(self, ended: RunRow) -> None:
        @workflow.workflow("test.goes_on")
        def flow(run: Run, case: Case) -> None:
            run.sleep(60)

        run = services.start_run("test.goes_on", {}, actor="user:ana")
        engine.advance(run.id, "wrk_test")
        for verb in (services.purge_contents, services.purge_artifacts, services.archive_run):
            with pytest.raises(services.NotPossible, match="only what has ended"):
                verb(run.id)

    def test_whoever_keeps_more_of_a_run_lets_go_too(
        self, ended: RunRow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(retention, "_others", {"letters": lambda run_id: asked.append(run_id) or 3})
        services.purge_contents(ended.id)
        assert asked == [ended.id]
        assert ended.journal.latest("seq").content["rows"]["letters"] == 3


class TestHowLong:
    @pytest.mark.parametrize(
        ("keep", "usual", "days", "due"),
        [
            (Keep(), 0, 10_000, False),
            (Keep(), 10, 9, False),
            (Keep(), 10, 11, True),
            (Keep(contents_days=5), 0, 6, True),
            (Keep(contents_days=5), 10, 4, False),
            (Keep(contents_days=20), 10, 11, False),
            (Keep(contents_days=0), 10, 11, False),
        ],
    )
    def test_the_workflow_says_or_else_the_settings(
        self, ended: RunRow, settings: Any, keep: Keep, usual: int, days: float, due: bool
    ) -> None:
        settings.HOLDPOINT_KEEP_DAYS = usual
        definition = workflow.get("test.kept")
        workflow._registry["test.kept", 1] = replace(definition, keep=keep)
        ago(ended, days)
        assert retention.contents_due(db_now()).exists() is due


class TestArchive:
    def test_it_leaves_the_working_lists_once(self, ended: RunRow, settings: Any) -> None:
        settings.HOLDPOINT_ARCHIVE_DAYS = 90
        ago(ended, 91)
        assert [sweep()["runs.archive"], sweep()["runs.archive"]] == [1, 0]
        ended.refresh_from_db()
        assert ended.archived_at is not None
        call_command("journal", "verify", ended.id)


class TestArtifacts:
    def test_what_another_run_still_holds_stays(self, ended: RunRow) -> None:
        other = services.start_run("test.kept", {}, actor="user:ana")
        for run, digest in ((ended, "a" * 64), (ended, "b" * 64), (other, "b" * 64)):
            Blob.objects.get_or_create(
                digest=digest, defaults={"content": b"x", "size": 1, "created_at": db_now()}
            )
            Artifact.objects.create(
                id=f"art_{run.id[-6:]}{digest[0]}",
                run=run,
                name=digest[0],
                version=1,
                media_type="text/plain",
                digest=digest,
                size=1,
                step_id="stp_x",
                created_at=db_now(),
            )
        assert services.purge_artifacts(ended.id)
        left: dict[str, Any] = dict(Blob.objects.values_list("digest", "content"))
        assert left["a" * 64] is None
        assert bytes(left["b" * 64]) == b"x"


class TestTheList:
    def test_what_was_put_away_is_found_by_its_id_alone(self, ended: RunRow) -> None:
        viewer = User.objects.create_user("ada")
        services.archive_run(ended.id)
        shown = [run_list(RunFilter(text=text), viewer).runs for text in ("", "was", ended.id)]
        assert [len(runs) for runs in shown] == [0, 0, 1]
