"""Several at the same moment: two answers, an answer and the deadline, senders with the same key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from runs import engine, journal, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Message, Step
from runs.models import Run as RunRow
from runs.steps.message import TimedOut
from tests.together import at_once

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.usefixtures("open_gate", "talking_broker"),
]
ROUNDS = 12


@pytest.fixture
def asked() -> list[RunRow]:
    """Runs that have each asked a question, and wait for a message beside it."""

    @workflow.workflow("t.asked")
    def flow(run: Run, case: dict[str, Any]) -> list[Any]:
        try:
            said = run.ask("Which?", str, timeout=3600)
        except TimedOut:
            said = "nobody"
        return [said, run.wait_for("go", int)]

    runs = [services.start_run("t.asked", {}, actor="user:omar") for _ in range(ROUNDS)]
    for run in runs:
        assert engine.advance(run.id, "wrk_a") is engine.Outcome.WAITING
    return runs


def people() -> dict[str, User]:
    made = {name: User.objects.create_user(name, password="x") for name in ("ana", "ben")}
    for person in made.values():
        person.user_permissions.add(Permission.objects.get(codename="answer_question"))
    return made


def question(run: RunRow) -> Step:
    return Step.objects.get(run=run, kind="question")


def ended(run: RunRow) -> Any:
    row = RunRow.objects.get(pk=run.pk)
    assert list(journal.verify(row, row.journal.order_by("seq"))) == []
    return row.output


def test_of_two_answers_one_counts(asked: list[RunRow]) -> None:
    crew = people()

    def player(name: str) -> Any:
        def answer(number: int) -> str:
            try:
                services.answer_question(question(asked[number]).pk, name, by=crew[name])
            except services.NotPossible as error:
                return str(error)
            return "taken"

        return answer

    for run, said in zip(asked, at_once(ROUNDS, [player("ana"), player("ben")]), strict=True):
        assert sorted(word == "taken" for word in said) == [False, True]
        winner = "ana" if said[0] == "taken" else "ben"
        (lost,) = (word for word in said if word != "taken")
        assert lost.startswith(f"{winner} answered this at ")
        assert question(run).result == winner
        assert run.journal.filter(kind="question.answered").count() == 1


def test_an_answer_or_the_deadline_never_both(asked: list[RunRow]) -> None:
    """The deadline is a moment away when somebody answers and a worker looks."""
    crew = people()

    def answer(number: int) -> str:
        try:
            services.answer_question(question(asked[number]).pk, "ana", by=crew["ana"])
        except services.NotPossible:
            return "late"
        return "taken"

    def look(number: int) -> str:
        run = asked[number]
        services.wake_due(run.id)
        engine.advance(run.id, "wrk_b")
        return "looked"

    now = db_now()
    Step.objects.filter(kind="question").update(due_at=now + timedelta(seconds=2))
    RunRow.objects.update(wake_at=now)
    told = at_once(ROUNDS, [answer, look])
    for run, (said, _) in zip(asked, told, strict=True):
        Step.objects.filter(run=run, kind="question", state="held").update(due_at=now)
        services.send_message(run.id, "go", 1, actor="user:omar")
        RunRow.objects.filter(pk=run.pk, state="waiting").update(wake_at=now)
        services.wake_due(run.id)
        engine.advance(run.id, "wrk_c")
        assert ended(run) == (["ana", 1] if said == "taken" else ["nobody", 1])


def test_a_message_sent_many_times_at_once_is_one(asked: list[RunRow]) -> None:
    def send(number: int) -> str:
        run = asked[number]
        return services.send_message(run.id, "go", number, actor="user:bank", key="same").pk

    for run, ids in zip(asked, at_once(ROUNDS, [send, send, send]), strict=True):
        assert len(set(ids)) == 1
        assert Message.objects.filter(run=run).count() == 1
        assert run.journal.filter(kind="message.received").count() == 1


def test_a_message_and_the_turn_that_goes_to_wait(asked: list[RunRow]) -> None:
    """Whoever comes first: the message is taken, and the run does not sleep over it."""
    crew = people()
    for run in asked:
        services.answer_question(question(run).pk, "ana", by=crew["ana"])

    def send(number: int) -> str:
        return services.send_message(asked[number].id, "go", number, actor="user:bank").pk

    def advance(number: int) -> str:
        return str(engine.advance(asked[number].id, "wrk_b"))

    at_once(ROUNDS, [send, advance])
    for number, run in enumerate(asked):
        engine.advance(run.id, "wrk_c")
        assert ended(run) == ["ana", number]
