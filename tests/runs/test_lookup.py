"""A question that is compiled once gives the rows that Django itself gives."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from runs import services
from runs.models import JournalEntry, Run
from runs.turns.lookup import Lookup
from runs.workflow import workflow

pytestmark = pytest.mark.django_db

BY_STATE = Lookup(lambda state, name: Run.objects.filter(state=state, workflow=name).order_by("created_at"))
LOCKED = Lookup(lambda run_id: Run.objects.select_for_update().filter(pk=run_id).order_by())
ENTRIES = Lookup(lambda run_id: JournalEntry.objects.filter(run_id=run_id).order_by("seq"))


@pytest.fixture
def run() -> Run:
    @workflow("l.plain")
    def plain(run: object, case: dict[str, int]) -> None: ...

    return services.start_run("l.plain", {"a": 1}, actor="user:ana")


def test_it_works(run: Run) -> None:
    for _ in range(2):  # asked anew, and as it was compiled
        (found,) = BY_STATE("queued", "l.plain")
        assert found == run
        assert {f.attname: getattr(found, f.attname) for f in Run._meta.concrete_fields} == {
            f.attname: getattr(Run.objects.get(pk=run.pk), f.attname) for f in Run._meta.concrete_fields
        }
    assert BY_STATE("queued", "l.other") == []
    assert BY_STATE.first("failed", "l.plain") is None


def test_a_row_that_it_gives_can_be_saved(run: Run) -> None:
    found = BY_STATE.first("queued", "l.plain")
    assert found is not None
    found.intent = "changed"
    found.save(update_fields=["intent"])
    assert Run.objects.get(pk=run.pk).intent == "changed"


def test_json_and_bytes_are_read_as_django_reads_them(run: Run) -> None:
    (entry,) = ENTRIES(run.pk)
    django = JournalEntry.objects.get(run_id=run.pk)
    assert entry.content == django.content
    assert bytes(entry.digest) == bytes(django.digest)


def test_the_value_is_no_part_of_the_statement(run: Run) -> None:
    assert ENTRIES("' OR TRUE --") == []
    assert ENTRIES("%s $1 ?") == []


def test_rows_are_locked_in_a_transaction(run: Run) -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        assert LOCKED.first(run.pk) == run
    locks = [query["sql"] for query in asked if "FOR UPDATE" in query["sql"]]
    assert len(locks) == (connection.vendor == "postgresql")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_rows_are_locked_nowhere_else(run: Run) -> None:
    with transaction.atomic():
        LOCKED(run.pk)
    with pytest.raises(transaction.TransactionManagementError):
        LOCKED(run.pk)
