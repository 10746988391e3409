"""manage.py doctor: each thing that can be wrong is found, named and has a cure."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import F

from ops import doctor, health
from ops.doctor import Finding, Level
from runs import engine, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.crew import workers
from runs.models import Errand, Worker
from runs.models import Run as RunRow
from tools import registry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that answers, a worker on every queue, and no registry but that of the test."""
    monkeypatch.setattr(health, "broker_answers", lambda: True)
    monkeypatch.setattr(workflow, "_registry", {})
    now = db_now()
    Worker.objects.create(
        id="wrk_here",
        host="here",
        pid=1,
        process_started="1",
        queues="runs",
        pool="threads",
        started_at=now,
        beat_at=now,
    )

    @workflow.workflow("d.nap")
    def nap(run: Run, case: dict[str, Any]) -> str:
        run.sleep(3600)
        return "done"


def start() -> RunRow:
    run = services.start_run("d.nap", {}, actor="user:omar")
    engine.advance(run.id, "wrk_a")
    return run


def told() -> tuple[int, list[dict[str, str]]]:
    out = StringIO()
    try:
        call_command("doctor", "--json", stdout=out)
    except CommandError as error:
        return error.returncode, json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def about(subject: str) -> list[Finding]:
    return [finding for finding in doctor.examine() if finding.subject == subject]


@pytest.fixture
def sound_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """The databases of tests give up safety for speed, and doctor is right to say so."""
    sound = Finding("database", Level.OK, "sound")
    monkeypatch.setitem(doctor._LOOKS, "database", lambda: iter([sound]))


@pytest.mark.usefixtures("sound_database")
def test_it_works() -> None:
    start()
    code, findings = told()
    assert [each for each in findings if each["level"] == "bad"] == []
    assert code == 0
    subjects = ["migrations", "database", "broker", "workers", "caretakers", "journal", "code"]
    assert list(dict.fromkeys(each["subject"] for each in findings)) == subjects


@pytest.mark.usefixtures("sound_database")
def test_it_tells_people_too() -> None:
    out = StringIO()
    call_command("doctor", stdout=out)
    assert "ok       journal: new entries are sealed with key" in out.getvalue()


def test_a_version_without_code() -> None:
    start()
    workflow._registry.clear()
    code, findings = told()
    found = [each for each in findings if each["subject"] == "code"]
    assert (code, found[0]["level"]) == (1, "bad")
    assert "1 run of d.nap version 1: there is no code" in found[0]["what"]
    assert found[0]["cure"]


def test_code_that_has_changed() -> None:
    start()
    workflow._registry.clear()

    @workflow.workflow("d.nap")
    def nap(run: Run, case: dict[str, Any]) -> str:
        run.sleep(7200)
        return "done"

    found = about("code")
    assert [each.level for each in found] == [Level.WARNING]
    assert "runs check" in found[0].cure


def queue(name: str) -> Finding:
    (found,) = [each for each in about("workers") if f"queue {name} " in each.what]
    return found


def test_a_queue_of_runs_that_nobody_takes() -> None:
    assert queue("runs").level is Level.OK
    Worker.objects.all().delete()
    assert queue("runs").level is Level.WARNING and "; nothing waits for one" in queue("runs").what
    services.start_run("d.nap", {}, actor="user:omar")
    found = queue("runs")
    assert (found.level, found.cure) == (Level.BAD, "Start one: python3 manage.py worker runs")
    assert "and none ever did; 1 run waits for one" in found.what


def test_a_queue_of_tools_that_nobody_takes() -> None:
    """Asked of the tools that are declared, and of the calls that wait."""
    with registry.scratch():

        @registry.tool(effect="read", queue="payments")
        def balance() -> int:
            return 3

        assert queue("payments").level is Level.WARNING
    assert not [each for each in about("workers") if "payments" in each.what]
    now = db_now()
    Errand.objects.create(
        id="call_1", run_id="run_1", step_id="stp_1", queue="payments", timeout=1, created_at=now
    )
    found = queue("payments")
    assert (found.level, found.cure) == (Level.BAD, "Start one: python3 manage.py worker payments")
    assert "1 tool call waits for one" in found.what
    long_ago = now - 4 * workers.SILENT_AFTER
    Worker.objects.update(queues="payments,runs", beat_at=long_ago)
    assert f"since {long_ago:%Y-%m-%d %H:%M:%S} UTC" in queue("payments").what
    Worker.objects.update(beat_at=now)
    assert (queue("payments").level, queue("payments").cure) == (Level.OK, "")


def test_caretakers_that_do_not_come() -> None:
    run = start()
    Worker.objects.update(beat_at=F("beat_at") - 4 * workers.SILENT_AFTER)
    late = about("caretakers")[0]
    last = Worker.objects.get().beat_at
    assert (late.level, f"began at {last:%Y-%m-%d %H:%M:%S} UTC, " in late.what) == (Level.WARNING, True)
    Worker.objects.update(stopped_at=last)
    assert "their last round began at" in about("caretakers")[0].what
    RunRow.objects.filter(pk=run.id).update(wake_at=db_now() - 2 * doctor.LATE)
    assert about("caretakers")[0].level is Level.BAD
    Worker.objects.update(beat_at=db_now())
    overdue = about("caretakers")[0]
    assert (overdue.level, "1 runs are overdue" in overdue.what) == (Level.BAD, True)


def test_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "broker_answers", lambda: False)
    assert about("broker")[0].level is Level.BAD


def test_no_journal_key(settings: Any) -> None:
    settings.HOLDPOINT_JOURNAL_KEYS = {}
    assert about("journal")[0].level is Level.BAD


def test_a_migration_that_is_pending() -> None:
    last = MigrationRecorder.Migration.objects.filter(app="approvals").latest("id")
    last.delete()
    try:
        found = about("migrations")[0]
    finally:
        MigrationRecorder(connection).record_applied(last.app, last.name)
    assert (found.level, last.name in found.what) == (Level.BAD, True)


@pytest.mark.sqlite
def test_a_careless_sqlite() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous")
        before = cursor.fetchone()[0]
        cursor.execute("PRAGMA synchronous = OFF")
        try:
            found = [each.what for each in about("database") if each.level is Level.BAD]
        finally:
            cursor.execute(f"PRAGMA synchronous = {before}")
    assert found == ["synchronous is 0: a power cut can lose what was committed"]


@pytest.mark.postgres
def test_a_careless_postgresql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        try:
            found = [each.what for each in about("database") if each.level is Level.BAD]
        finally:
            cursor.execute("RESET synchronous_commit")
    assert [what for what in found if what.startswith("synchronous_commit is off")]


def test_a_database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def away() -> Any:
        raise OperationalError("connection refused")
        yield

    monkeypatch.setitem(doctor._LOOKS, "database", away)
    found = about("database")[0]
    assert (found.level, "connection refused" in found.what) == (Level.BAD, True)
