"""Messages are only hints: a broker that forgets them, or dies, loses no run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from kombu import Connection

from ops.launch.broker import Broker
from runs import timers
from runs.clock import db_now
from runs.models import Run
from tests.flows.conftest import Crew, Stage, assert_whole
from tests.flows.promises import world
from tests.flows.story import Until, act

pytestmark = pytest.mark.processes
RUNS = 12


def messages_in(broker: Broker, *, then_flush: bool = False) -> int:
    """How many hints wait in the queue of runs; with `then_flush`, everything is forgotten after that."""
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    with Connection(broker.url, transport_options=options) as connection, connection.channel() as channel:
        count = int(channel._size("runs"))  # of all priorities
        if then_flush:
            channel.client.flushall()
        return count


def forget(broker: Broker) -> None:
    """FLUSHALL."""
    messages_in(broker, then_flush=True)


def die_and_come_back(broker: Broker) -> None:
    """SIGKILL, and a new one that knows nothing."""
    broker.kill()
    broker.start().wait_ready()


LOSSES = [forget, die_and_come_back]
Loss = Callable[[Broker], None]


def start_runs(stage: Stage) -> list[Run]:
    return [stage.start(act("look", str(number)), act("put", str(number))) for number in range(RUNS)]


def all_done_once(runs: list[Run]) -> None:
    for number, run in enumerate(runs):
        assert assert_whole(run).state == "succeeded"
        assert len(world.happened(f"put {number}")) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_queued_runs_finish_without_their_messages(
    crew: Crew, stage: Stage, until: Until, broker: Broker, loss: Loss
) -> None:
    forget(broker)
    runs = start_runs(stage)
    assert messages_in(broker) == RUNS
    loss(broker)
    assert messages_in(broker) == 0, "the fault was there"
    crew.start(1)
    until(lambda: Run.objects.filter(state="succeeded").count() == RUNS, 60)
    all_done_once(runs)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_worker_at_work_finds_the_rest_by_itself(
    crew: Crew, stage: Stage, until: Until, broker: Broker, loss: Loss
) -> None:
    """Its threads are all taken when the broker loses what else there is to do."""
    (worker,) = crew.start(1, threads=2)
    gate = stage.file("gate")
    busy = [stage.start(act("look", f"busy {number}", then=gate)) for number in range(2)]
    until(lambda: all(world.happened(f"look busy {number}") for number in range(2)))
    runs = start_runs(stage)
    until(lambda: messages_in(broker) >= RUNS - 3)
    loss(broker)
    assert messages_in(broker) == 0, "the fault was there"
    stage.let_go(gate)
    until(lambda: Run.objects.filter(state="succeeded").count() == RUNS + 2, 60)
    assert worker.alive()
    all_done_once(runs)
    assert all(assert_whole(run).state == "succeeded" for run in busy)


def test_runs_that_only_stand_in_line_get_no_second_hint(
    broker: Broker, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With thousands in a queue, hints for all of them again and again would keep the workers from it."""
    monkeypatch.setattr(timers, "BATCH", RUNS // 2)
    forget(broker)
    runs = start_runs(stage)
    assert messages_in(broker) == RUNS
    due = Run.objects.filter(pk__in=[run.pk for run in runs])
    due.update(wake_at=db_now() - timedelta(seconds=10))
    assert timers.hint_again() == 0
    assert messages_in(broker) == RUNS
    due.filter(pk=runs[0].pk).update(wake_at=db_now() - timedelta(minutes=6))
    assert timers.hint_again() == 1, "one that has stood there for so long may have lost its hint"
    assert messages_in(broker) == RUNS + 1
    forget(broker)
    assert timers.hint_again() == RUNS // 2
    assert messages_in(broker) == RUNS // 2
