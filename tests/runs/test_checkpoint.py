"""The one write of a turn: all of it or nothing, behind the fence, and recognised when its answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from pydantic import BaseModel

from runs import journal, services, workflow
from runs.context import Run
from runs.journal import Entry, Head
from runs.models import JournalEntry, Step
from runs.models import Run as RunRow
from runs.stops import Fenced
from runs.turns import checkpoint, lease
from runs.turns.checkpoint import Fence, Write, own_transaction
from runs.turns.turn import Turn
from tests.record import Rows, everything
from tests.runs.cut import Wire
from tests.together import Player, at_once
from tools.canonical import new_id
from tools.models import ToolCall

pytestmark = pytest.mark.django_db(transaction=True)
TABLES = {
    "runs_run",
    "runs_historicalrun",
    "runs_step",
    "runs_historicalstep",
    "runs_journalentry",
    "tools_toolcall",
}


class Nothing(BaseModel):
    """An input."""


@pytest.fixture
def run() -> RunRow:
    """A run that nobody has claimed."""

    @workflow.workflow("test.checkpoint")
    def checkpointed(run: Run, case: Nothing) -> None: ...

    return services.start_run("test.checkpoint", {}, actor="user:ana")


@pytest.fixture
def turn(run: RunRow) -> Turn:
    """A turn with one tool step begun, and in hand one change of every kind."""
    claimed = lease.claim(run.pk, "wrk_one")
    assert claimed is not None
    first = a_step(claimed, "1")
    claimed.new_call(a_call(claimed, first))
    claimed.note("call.started", "Begins", first)
    claimed.commit()
    fill(claimed, first)
    return claimed


def a_step(turn: Turn, path: str) -> Step:
    return turn.new_step(path, "tool", "test", "f" * 64, arguments={"n": 1}, effect="write", key="k")


def a_call(turn: Turn, step: Step) -> ToolCall:
    return ToolCall(
        id=new_id("call"),
        step_id=step.id,
        run_id=turn.run.id,
        tool="test",
        version=1,
        effect="write",
        key="k",
        arguments_digest="d" * 64,
        not_before=turn.clock.after(60),
        started_at=turn.now(),
    )


def fill(turn: Turn, first: Step) -> None:
    """The result of the first step, the intent of the next, and a new state of the run."""
    first.succeed()
    first.result = {"ok": True}
    turn.finished(first)
    call = turn.call_of(first)
    call.succeed()
    turn.changed_call(call)
    turn.new_call(a_call(turn, a_step(turn, "2")))
    turn.note("call.succeeded", "Done", first, result="r")
    turn.run.wait()


def batch(turn: Turn, *, wakes: int | None = None) -> tuple[Fence, list[Write]]:
    """The guard and the rows of the turn's next write."""
    changes = turn.move_run("goes to wait")
    sealed, head = journal.seal(turn.run.id, turn.head, turn.pending.entries, actor=turn.actor, at=turn.now())
    # Errands belong to calls of other queues: there are none here.
    writes = [part for part in turn.pending.writes(sealed) if part.inserts or part.updates]
    return turn._fence(head, None, changes, wakes), writes


def changed(before: Rows, after: Rows) -> set[str]:
    return {table for table in after if after[table] != before[table]}


def whole(run_id: str) -> bool:
    row = RunRow.objects.get(pk=run_id)
    return not list(journal.verify(row, row.journal.order_by("seq")))


# The fence


def another_owner(run: RunRow) -> None:
    """A caretaker gave the run to somebody else."""
    services.rescue_run(run.pk, 1, reason="test", died=False, proven=False, alone=False)
    assert lease.claim(run.pk, "wrk_two") is not None


def the_same_owner_again(run: RunRow) -> None:
    """The same worker has it, under a later claim."""
    RunRow.objects.filter(pk=run.pk).update(lease_epoch=2)


def given_back(run: RunRow) -> None:
    """Nobody has it: only the owner differs."""
    RunRow.objects.filter(pk=run.pk).update(lease_owner="")


def an_operator_wrote(run: RunRow) -> None:
    """Somebody appended to the journal: the head moved on."""
    append(run, "Looked at it")


def append(run: RunRow, sentence: str) -> None:
    with own_transaction():
        entry = Entry("run.noted", sentence)
        services.append_entries(services.lock_run(run.pk), [entry], actor="user:olga")


def woken(run: RunRow) -> None:
    """What it waits for is there."""
    with own_transaction():
        services.wake(services.lock_run(run.pk))


MOVES = [another_owner, the_same_owner_again, given_back, an_operator_wrote, woken]
Move = Callable[[RunRow], None]


def test_a_batch_touches_every_table(run: RunRow, turn: Turn) -> None:
    """The control: what the next tests see refused is written when nothing moved."""
    fence, writes = batch(turn, wakes=turn.run.wakes)
    assert all(part.inserts or part.updates for part in writes)
    before = everything()
    assert checkpoint.write(fence, writes)
    assert changed(before, everything()) == TABLES
    assert whole(run.pk)


@pytest.mark.parametrize("move", MOVES)
def test_nothing_of_a_batch_is_written_past_the_fence(run: RunRow, turn: Turn, move: Move) -> None:
    fence, writes = batch(turn, wakes=turn.run.wakes)
    move(run)
    before = everything()
    assert not checkpoint.write(fence, writes)
    assert changed(before, everything()) == set()


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("move", MOVES)
def test_each_part_is_behind_the_fence_by_itself(run: RunRow, turn: Turn, move: Move, number: int) -> None:
    fence, writes = batch(turn, wakes=turn.run.wakes)
    assert len(writes) == 7
    move(run)
    before = everything()
    assert not checkpoint.write(fence, [writes[number]])
    assert changed(before, everything()) == set()


@pytest.mark.parametrize("move", [another_owner, the_same_owner_again, given_back])
def test_a_turn_that_lost_its_run_ends(run: RunRow, turn: Turn, move: Move) -> None:
    move(run)
    before = everything()
    with pytest.raises(Fenced):
        turn.commit()
    with pytest.raises(Fenced):  # and stays ended, for code that swallows it
        turn.go_on_only_if_running()
    assert changed(before, everything()) == set()


def test_a_run_woken_meanwhile_does_not_go_to_wait(run: RunRow, turn: Turn) -> None:
    wakes, changes = turn.run.wakes, turn.move_run("goes to wait")
    woken(run)
    before = everything()
    assert not turn.commit(lease=None, changes=changes, wakes=wakes)
    assert changed(before, everything()) == set()


def test_the_chain_is_computed_anew_when_somebody_appended_meanwhile(run: RunRow, turn: Turn) -> None:
    append(run, "Looked at it")
    append(run, "and again")
    assert turn.commit()
    kinds = list(JournalEntry.objects.filter(run=run).order_by("seq").values_list("kind", flat=True))
    assert kinds == ["run.started", "call.started", "run.noted", "run.noted", "call.succeeded"]
    assert whole(run.pk)
    turn.note("run.noted", "The turn knows the head again")
    assert turn.commit() and whole(run.pk)


# Answers that were lost


def of_the_batch(run: RunRow) -> tuple[int, int, int, int]:
    """How often each part of it is there."""
    return (
        JournalEntry.objects.filter(run=run, kind="call.succeeded").count(),
        Step.objects.filter(run=run).count(),
        Step.history.filter(run=run, state="succeeded").count(),
        ToolCall.objects.filter(run_id=run.pk).count(),
    )


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_without_an_answer_is_there_once(
    run: RunRow, turn: Turn, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = checkpoint.write, []

    def failing(fence: Fence, writes: list[Write]) -> bool:
        tries.append(fence.head_seq)
        if len(tries) > 1:
            return real(fence, writes)
        if moment == "after":
            assert real(fence, writes)
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(checkpoint, "write", failing)
    assert turn.commit()
    assert len(tries) == (2 if moment == "before" else 1), "a commit that was ours is not written again"
    assert of_the_batch(run) == (1, 2, 1, 2)
    assert turn.head == Head(turn.head.seq, bytes(RunRow.objects.get(pk=run.pk).head_hash))
    assert whole(run.pk)


@pytest.fixture
def wire(tmp_path_factory: pytest.TempPathFactory, transactional_db: None) -> Iterator[Wire]:
    """This test's connection goes over a wire that can be cut."""
    place = dict(connection.settings_dict)
    server = Path(place["HOST"]) / f".s.PGSQL.{place['PORT']}"
    assert server.is_socket(), "the tests' own cluster listens on a unix socket"
    folder = tmp_path_factory.mktemp("w")
    made = Wire(folder, server)
    connection.close()
    connection.settings_dict["HOST"] = str(folder)
    try:
        yield made
    finally:
        connection.close()
        connection.settings_dict["HOST"] = place["HOST"]
        made.close()


@pytest.mark.postgres
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_wire_that_is_cut_around_the_commit_changes_nothing(
    wire: Wire, run: RunRow, turn: Turn, moment: str
) -> None:
    connection.close()  # the next statement is sent with its text
    wire.cut(moment)
    assert turn.commit()
    assert wire.cuts == 1, "the fault was there"
    assert of_the_batch(run) == (1, 2, 1, 2)
    assert whole(run.pk)
    turn.note("run.noted", "It goes on")
    assert turn.commit() and whole(run.pk)


# The journal


FORGERIES = {
    "edited sentence": ["UPDATE runs_journalentry SET sentence = 'Nothing' WHERE run_id = %s AND seq = 3"],
    "edited content": ["UPDATE runs_journalentry SET content = '[0]' WHERE run_id = %s AND seq = 3"],
    "edited actor": ["UPDATE runs_journalentry SET actor = 'user:eve' WHERE run_id = %s AND seq = 3"],
    "edited time": ["UPDATE runs_journalentry SET at = '2001-01-01 00:00:00Z' WHERE run_id = %s AND seq = 3"],
    "deleted": ["DELETE FROM runs_journalentry WHERE run_id = %s AND seq = 3"],
    "deleted and closed up": [
        "DELETE FROM runs_journalentry WHERE run_id = %s AND seq = 3",
        "UPDATE runs_journalentry SET seq = 3 WHERE run_id = %s AND seq = 4",
        "UPDATE runs_journalentry SET seq = 4 WHERE run_id = %s AND seq = 5",
    ],
    "swapped": [
        "UPDATE runs_journalentry SET seq = 99 WHERE run_id = %s AND seq = 3",
        "UPDATE runs_journalentry SET seq = 3 WHERE run_id = %s AND seq = 4",
        "UPDATE runs_journalentry SET seq = 4 WHERE run_id = %s AND seq = 99",
    ],
    "inserted": [
        "INSERT INTO runs_journalentry (run_id, seq, at, recorded_at, actor, kind, sentence, step_id,"
        " content, digest, previous, key_id, mac) SELECT run_id, 6, at, recorded_at, actor, kind, sentence,"
        " step_id, content, digest, previous, key_id, mac FROM runs_journalentry"
        " WHERE run_id = %s AND seq = 5",
    ],
    "truncated": ["DELETE FROM runs_journalentry WHERE run_id = %s AND seq > 3"],
    "emptied": ["DELETE FROM runs_journalentry WHERE run_id = %s"],
}


@pytest.fixture
def unguarded(transactional_db: None) -> Iterator[None]:
    """The database lets the journal be changed, as its owner can have it."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE runs_journalentry DISABLE TRIGGER USER")
            yield
            cursor.execute("ALTER TABLE runs_journalentry ENABLE TRIGGER USER")
            return
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'runs_journalentry'"
        )
        guards = cursor.fetchall()
        for name, _ in guards:
            cursor.execute(f"DROP TRIGGER {name}")
        yield
        for _, text in guards:
            cursor.execute(text)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_verifying_finds_what_was(run: RunRow, unguarded: None, forgery: str) -> None:
    for number in range(4):
        append(run, f"Note {number}")
    other = services.start_run("test.checkpoint", {}, actor="user:ana")
    assert whole(run.pk)
    for statement in FORGERIES[forgery]:
        with connection.cursor() as cursor:
            cursor.execute(statement, [run.pk])
            assert cursor.rowcount >= 1, "the forgery was there"
    assert not whole(run.pk)
    assert whole(other.pk), "and nothing is said against another run"


# One winner


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_of_many_processes_that_claim_a_run_one_gets_it(run: RunRow) -> None:
    rounds, processes = 25, 6
    ids = [services.start_run("test.checkpoint", {}, actor="user:ana").pk for _ in range(rounds)]

    def worker(name: str) -> Player:
        return lambda number: lease.claim(ids[number], name) is not None

    told = at_once(rounds, [worker(f"wrk_{number}") for number in range(processes)])
    assert [sum(won) for won in told] == [1] * rounds
    for run_id, won in zip(ids, told, strict=True):
        row = RunRow.objects.get(pk=run_id)
        assert (row.state, row.lease_epoch, row.lease_owner) == ("running", 1, f"wrk_{won.index(True)}")
        assert row.history.filter(state="running").count() == 1
    assert len({won.index(True) for won in told}) > 1, "they never met"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_of_many_caretakers_one_takes_a_run_from_a_lost_worker(run: RunRow) -> None:
    rounds, processes = 15, 4
    ids = [services.start_run("test.checkpoint", {}, actor="user:ana").pk for _ in range(rounds)]
    for run_id in ids:
        assert lease.claim(run_id, "wrk_lost") is not None

    def caretaker(number: int) -> Any:
        return services.rescue_run(ids[number], 1, reason="test", died=True, proven=False, alone=False)

    told = at_once(rounds, [caretaker] * processes)
    assert [sum(won) for won in told] == [1] * rounds
    rows = RunRow.objects.filter(pk__in=ids)
    assert {(row.state, row.crashes, row.lease_owner) for row in rows} == {("queued", 1, "")}
    assert JournalEntry.objects.filter(kind="run.rescued").count() == rounds
    assert all(whole(run_id) for run_id in ids)
