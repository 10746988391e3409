"""A process dies at every commit of a run that asks, waits for messages and keeps outputs: the same end."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User

from runs import journal, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Artifact, Blob, Message, Step
from runs.models import Run as RunRow
from runs.steps.message import TimedOut
from tests.runs.test_every_commit import Deaths, Nothing
from tools import registry
from tools.contract import IdempotencyKey

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("open_gate"),
]
COMMITS = 15  # more than the run has: the last trials show that
LARGE = 300_000


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """What was done outside, one line each."""
    return tmp_path / "world"


@pytest.fixture
def errand(world: Path) -> Iterator[str]:
    """A question, three messages of which one never comes, outputs, progress, a change and a large value."""
    with registry.scratch():

        @registry.tool(effect="write", risk="low", name="waits_put", rollback="None")
        def put(amount: int, *, key: IdempotencyKey) -> str:
            with world.open("a") as file:
                file.write(f"{key}\n")
            return "x" * LARGE

        @workflow.workflow("test.waits")
        def errand(run: Run, case: Nothing) -> list[object]:
            run.progress("Begins", 0, 2)
            run.artifact("draft", "one")
            first = run.wait_for("paid", int)
            sure = run.ask("Shall it be paid?", bool, to="user:bea")
            put_down = run.tool(put, first)
            two = run.artifact("draft", put_down)
            try:
                run.wait_for("never", timeout=3600)
            except TimedOut:
                run.progress("Nobody came", 1, 2)
            second = run.wait_for("paid", int)
            said = run.patched("louder")
            return [first, sure, two.version, len(run.read_artifact("draft")), second, said]

        yield "test.waits"


def next_worker(run: RunRow) -> None:
    """What caretakers do once the process is gone for certain and time has passed."""
    row = RunRow.objects.get(pk=run.pk)
    if row.state == "running":
        services.rescue_run(run.pk, row.lease_epoch, reason="it died", died=True, proven=True, alone=False)
    past = db_now() - timedelta(seconds=1)
    Step.objects.filter(run=run, state="waiting").exclude(due_at=None).update(due_at=past)
    RunRow.objects.filter(pk=run.pk, state="waiting").exclude(wake_at=None).update(wake_at=past)
    timers.wake_due_runs()


def people(run: RunRow, bea: User) -> None:
    """The others do their part: with a key, since nobody knows what had arrived."""
    for number in (1, 2):
        if number == 1 or Step.objects.filter(run=run, kind="message", name="never").exists():
            with contextlib.suppress(services.NotPossible):
                services.send_message(run.pk, "paid", number, actor="user:bank", key=str(number))
    for question in Step.objects.filter(run=run, kind="question", state="held"):
        services.answer_question(question.pk, True, by=bea)


@pytest.mark.parametrize("early", [False, True], ids=["waits first", "sent first"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_it_ends_the_same_wherever_its_process_died(
    errand: str, world: Path, after: bool, early: bool
) -> None:
    bea = User.objects.create_user("bea", password="x")
    bea.user_permissions.add(Permission.objects.get(codename="answer_question"))
    died = []
    for at in range(1, COMMITS + 1):
        world.write_text("")
        run = services.start_run(errand, {}, actor="user:ana")
        if early:
            services.send_message(run.pk, "paid", 1, actor="user:bank", key="1")
        died.append(play(run, Deaths(at, after=after), bea))
        check(RunRow.objects.get(pk=run.pk), world)
    assert died[0] == 1 and died[-1] == 0, "every commit was tried, up to beyond the last one"
    assert sum(died) >= 7, "the fault was there"


def play(run: RunRow, deaths: Deaths, bea: User) -> int:
    """The run to its end; how many processes died on the way."""
    died = 0
    for _ in range(14):
        died += deaths.turn(run)
        row = RunRow.objects.get(pk=run.pk)
        assert list(journal.verify(row, row.journal.order_by("seq"))) == []
        if row.ended:
            return died
        next_worker(run)
        people(run, bea)
    raise AssertionError(f"it is stuck: {row.state} {row.waiting_for} {row.attention}")


def check(row: RunRow, world: Path) -> None:
    assert (row.state, row.output) == ("succeeded", [1, True, 2, LARGE, 2, True])
    assert len(set(world.read_text().split())) == 1, "one key for all attempts"
    assert Step.objects.filter(run=row).count() == 11
    messages = Message.objects.filter(run=row).order_by("payload")
    waits = Step.objects.filter(run=row, kind="message", name="paid").order_by("position")
    assert [message.taken_by for message in messages] == [step.id for step in waits]
    assert [one.version for one in Artifact.objects.filter(run=row).order_by("version")] == [1, 2]
    assert Blob.objects.count() == 3, "one, the large text, and the large result: each once for all runs"
    said = Counter(row.journal.values_list("kind", flat=True))
    once = {
        "question.asked": 1,
        "question.answered": 1,
        "message.received": 2,
        "message.taken": 2,
        "message.timed_out": 1,
        "artifact.kept": 2,
        "progress": 2,
        "patch.taken": 1,
    }
    assert {kind: said[kind] for kind in once} == once
