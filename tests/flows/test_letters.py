"""Workers are killed while messages arrive and people answer: everything counts once, nothing is lost."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User

from runs import services
from runs.models import Artifact, Message, Run, Step
from tests.flows.conftest import Crew, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.story import Until

pytestmark = pytest.mark.processes
RUNS = 8


@pytest.fixture
def ana(story_env: dict[str, str]) -> User:
    """Somebody who answers."""
    made = User.objects.create_user("ana", password="x")
    made.user_permissions.add(Permission.objects.get(codename="answer_question"))
    return made


def start(gate: str = "") -> Run:
    return services.start_run("promises.letters", {"gate": gate}, actor="user:omar")


def send(run: Run, number: int) -> Message:
    return services.send_message(run.pk, "go", number, actor="user:bank", key=str(number))


def question(run: Run) -> Step | None:
    return Step.objects.filter(run=run, kind="question").first()


def answer(run: Run, ana: User) -> None:
    asked = question(run)
    assert asked is not None
    services.answer_question(asked.pk, True, by=ana)


def check(run: Run) -> None:
    row = assert_whole(run)
    assert row.output == [1, True, 2, "1 True"]
    assert len(world.happened(f"put {run.pk}")) == 1
    taken = Message.objects.filter(run=run).order_by("payload").values_list("payload", "taken_by")
    waits = Step.objects.filter(run=run, kind="message").order_by("position").values_list("result", "id")
    assert list(taken) == list(waits)
    assert Artifact.objects.filter(run=run).count() == 1
    for kind, count in (
        ("question.asked", 1),
        ("question.answered", 1),
        ("message.taken", 2),
        ("progress", 1),
    ):
        assert row.journal.filter(kind=kind).count() == count, kind


@pytest.mark.parametrize("moment", ["before the run waits", "while it waits"])
def test_a_message_arrives_and_its_worker_is_killed(
    crew: Crew, stage: Stage, until: Until, ana: User, moment: str
) -> None:
    """The worker is inside a look, in the same turn, when the message comes."""
    crew.start(2)
    gate = stage.file("gate")
    run = start(gate)
    if moment == "before the run waits":
        send(run, 1)
    until(lambda: world.happened(f"look beside {run.pk}"))
    if moment == "while it waits":
        send(run, 1)
    crew.holder(run).kill()
    stage.let_go(gate)
    until(lambda: stage.entries(run, "run.rescued"), 20, "nobody took the run up")
    until(lambda: state_of(run) == "waiting")
    answer(run, ana)
    until(lambda: world.happened(f"put {run.pk}"))
    send(run, 2)
    until(lambda: state_of(run) == "succeeded")
    check(run)


def test_an_answer_is_given_while_the_worker_is_killed(
    crew: Crew, stage: Stage, until: Until, ana: User
) -> None:
    crew.start(2)
    gate = stage.file("gate")
    run = start(gate)
    until(lambda: world.happened(f"look beside {run.pk}") and question(run))
    doomed = crew.holder(run)
    answer(run, ana)
    doomed.kill()
    with pytest.raises(services.NotPossible, match="ana answered this at"):
        answer(run, ana)
    stage.let_go(gate)
    for number in (1, 2):
        send(run, number)
    until(lambda: state_of(run) == "succeeded")
    check(run)


def test_many_at_every_moment_while_one_worker_after_another_dies(
    crew: Crew, stage: Stage, until: Until, ana: User
) -> None:
    """Whatever comes first: the message, the wait, the answer or the death."""
    crew.start(3)
    runs = [start() for _ in range(RUNS)]
    for run in runs[::2]:
        send(run, 1)
    until(lambda: question(runs[0]))
    crew.workers[0].kill()
    for run in runs:
        send(run, 1)
    for run in runs:
        until(lambda run=run: question(run))
        answer(run, ana)
        if run is runs[RUNS // 2]:
            crew.workers[1].kill()
            crew.start(1)
    for run in runs:
        send(run, 2)
    until(lambda: all(state_of(run) == "succeeded" for run in runs), 60)
    for run in runs:
        check(run)
    assert Message.objects.count() == 2 * RUNS
