"""manage.py runs and manage.py journal: one clear line for whatever is wrong, and nothing half done."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from pydantic import BaseModel

from runs import engine, workflow
from runs.context import Run
from runs.models import JournalEntry
from runs.models import Run as RunRow

pytestmark = pytest.mark.django_db(transaction=True)


class Case(BaseModel):
    """An input."""

    order: str
    amount: int = 1


@pytest.fixture(autouse=True)
def echo() -> None:
    @workflow.workflow("test.echo")
    def echo(run: Run, case: Case) -> str:
        """Say what came in."""
        return case.order


@pytest.fixture
def ana() -> User:
    made = User.objects.create_user("ana")
    made.user_permissions.set(Permission.objects.filter(codename__in=["start_run", "control_run"]))
    return made


def call(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def refused(*words: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as caught:
        call(*words)
    return str(caught.value), caught.value.returncode


class TestRunsStart:
    def test_it_works(self, ana: User) -> None:
        made = json.loads(
            call("runs", "start", "test.echo", "--input", '{"order": "A1"}', "--by", "ana", "--json")
        )
        assert (made["state"], made["requester"]) == ("queued", "user:ana")
        engine.advance(made["id"], "wrk_test")
        assert "Succeeded" in call("runs", "list")
        shown = call("runs", "show", made["id"])
        assert "ana asked for test.echo" in shown

    def test_it_takes_the_input_from_a_file(self, ana: User, tmp_path: Path) -> None:
        place = tmp_path / "input.json"
        place.write_text('{"order": "A2"}')
        call("runs", "start", "test.echo", "--input", f"@{place}", "--by", "ana")
        assert RunRow.objects.get().input == {"order": "A2", "amount": 1}

    @pytest.mark.parametrize(
        ("name", "given", "says", "code"),
        [
            ("no.such", "{}", "There is no workflow called no.such", 4),
            ("test.echo", "{", "not JSON", 2),
            ("test.echo", "{}", "order: is missing", 2),
            ("test.echo", '{"order": "A", "amount": "many"}', "amount: ", 2),
            ("test.echo", '{"order": "A", "order": "B"}', "twice", 2),
            ("test.echo", "@/no/such/file", "cannot be read", 2),
        ],
    )
    def test_it_says_what_is_wrong(self, ana: User, name: str, given: str, says: str, code: int) -> None:
        message, returned = refused("runs", "start", name, "--input", given, "--by", "ana")
        assert says in message
        assert "\n" not in message
        assert returned == code
        assert not RunRow.objects.exists()

    def test_it_wants_a_person_who_exists(self) -> None:
        assert refused("runs", "start", "test.echo", "--by", "nobody") == (
            "There is no active user called nobody.",
            4,
        )


class TestRunsResume:
    def test_it_refuses_a_run_that_does_not_stand_still(self, ana: User) -> None:
        made = json.loads(
            call("runs", "start", "test.echo", "--input", '{"order": "A1"}', "--by", "ana", "--json")
        )
        message, code = refused("runs", "resume", made["id"], "--reason", "why not", "--by", "ana")
        assert "cannot be resumed" in message
        assert code == 6

    def test_it_knows_no_such_run(self, ana: User) -> None:
        assert refused("runs", "resume", "run_none", "--reason", "x", "--by", "ana")[1] == 4


class TestJournalVerify:
    def test_it_works(self, ana: User) -> None:
        call("runs", "start", "test.echo", "--input", '{"order": "A1"}', "--by", "ana")
        assert "every chain holds" in call("journal", "verify")

    def test_it_finds_a_missing_tail(self, ana: User) -> None:
        call("runs", "start", "test.echo", "--input", '{"order": "A1"}', "--by", "ana")
        run = RunRow.objects.get()
        engine.advance(run.id, "wrk_test")
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("ALTER TABLE runs_journalentry DISABLE TRIGGER USER")
            cursor.execute("DELETE FROM runs_journalentry WHERE seq = %s", [run.head_seq + 1])
            if connection.vendor == "postgresql":
                cursor.execute("ALTER TABLE runs_journalentry ENABLE TRIGGER USER")
        out = StringIO()
        with pytest.raises(CommandError):
            call_command("journal", "verify", "--json", stdout=out)
        assert json.loads(out.getvalue())["breaks"][0]["run"] == run.id

    def test_an_entry_cannot_be_changed_at_all(self, ana: User) -> None:
        call("runs", "start", "test.echo", "--input", '{"order": "A1"}', "--by", "ana")
        with pytest.raises(Exception, match="only grows"):
            JournalEntry.objects.update(sentence="Nothing happened")

    def test_content_may_be_purged_and_the_chain_holds(self, ana: User) -> None:
        call("runs", "start", "test.echo", "--input", '{"order": "A1"}', "--by", "ana")
        JournalEntry.objects.update(content=None)
        assert "every chain holds" in call("journal", "verify")
