"""A write whose worker is proven gone is sent again at once, with the same key."""

from __future__ import annotations

import socket
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from runs import engine, messages, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.crew import life
from runs.engine import Outcome
from runs.models import Run as RunRow
from runs.models import Worker
from runs.steps import attempt
from runs.turns import lease
from tools.contract import IdempotencyKey
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate")]


class Nothing(BaseModel):
    """No input."""


class Killed(BaseException):
    """The process ends here."""


def die(*_: Any, **__: Any) -> None:
    """Nobody hears what came of the call."""
    raise Killed


@pytest.mark.parametrize("proven", [True, False])
def test_it_waits_only_while_the_lost_call_may_still_arrive(
    proven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []
    done: dict[str, str] = {}

    @tool(effect="write")
    def change(*, key: IdempotencyKey) -> str:
        keys.append(key)
        if len(keys) == 1:
            raise RuntimeError("its process is about to end")
        return done.setdefault(key, "changed")

    @change.lookup
    def _(key: IdempotencyKey) -> str | None:
        return done.get(key)

    @workflow.workflow("test.change")
    def changes(run: Run, nothing: Nothing) -> str:
        return run.tool(change)

    run = services.start_run("test.change", {}, actor="user:ana")
    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(attempt, "_failed", die)
        engine.advance(run.id, "wrk_lost")
    epoch = RunRow.objects.get(pk=run.pk).lease_epoch
    assert services.rescue_run(run.id, epoch, reason="it is gone", died=True, proven=proven, alone=True)

    outcome = engine.advance(run.id, "wrk_next")
    assert outcome is (Outcome.ENDED if proven else Outcome.WAITING)
    assert len(keys) == (2 if proven else 1)
    assert len(set(keys)) == 1


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that workers are told of from now on."""
    names: list[str] = []
    monkeypatch.setattr(messages, "_send", lambda task, kwargs, *_: names.append(kwargs["run_id"]) or True)
    return names


class TestBeforeTheFirstMessage:
    """A worker that starts after a crash takes up at once what the lost one had, and had been told of."""

    @pytest.fixture
    def runs(self) -> list[RunRow]:
        @workflow.workflow("test.many")
        def many(run: Run, nothing: Nothing) -> str:
            return "done"

        return [services.start_run("test.many", {}, actor="user:ana") for _ in range(3)]

    @pytest.fixture
    def lost(self) -> str:
        """A worker whose process has ended."""
        now = db_now()
        here = {"host": socket.gethostname(), "pid": 2**22 + 1, "process_started": "1", "pool": "threads"}
        return Worker.objects.create(id="wrk_lost", queues="runs", started_at=now, beat_at=now, **here).pk

    def test_runs_in_hand_and_runs_that_were_told_go_to_others(
        self, runs: list[RunRow], lost: str, told: list[str]
    ) -> None:
        assert lease.claim(runs[0].id, lost) is not None
        timers.take_over()
        assert told == [run.id for run in runs]
        runs[0].refresh_from_db()
        assert (runs[0].state, runs[0].crashes, runs[0].lease_owner) == ("queued", 1, "")

        timers.take_over()
        assert len(told) == 3, "once is enough"

    def test_every_worker_does_so_as_it_starts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done: list[str] = []
        pulse = SimpleNamespace(start=lambda: done.append("rounds"))
        monkeypatch.setattr(timers, "take_over", lambda: done.append("taken over"))
        monkeypatch.setattr(life.workers, "this_worker", lambda: done.append("registered"))
        monkeypatch.setattr(life.workers, "Pulse", lambda *_: pulse)
        monkeypatch.setattr(life.workers, "expect_beats", lambda: None)
        monkeypatch.setattr(life, "_pulse", None)
        life._thread_pool_started()
        assert done == ["registered", "taken over", "rounds"]

    def test_nobody_is_told_again_when_nobody_is_lost(self, runs: list[RunRow], told: list[str]) -> None:
        assert lease.claim(runs[0].id, "wrk_lives") is not None
        timers.take_over()
        assert told == []

    def test_what_comes_back_apart_and_what_must_wait_is_not_hurried(
        self, runs: list[RunRow], lost: str, told: list[str]
    ) -> None:
        RunRow.objects.filter(pk=runs[1].pk).update(crashes=2)
        RunRow.objects.filter(pk=runs[2].pk).update(placed=False)
        assert lease.claim(runs[0].id, lost) is not None
        timers.take_over()
        assert told == [runs[0].id]

    def test_where_nobody_runs_suspects_alone_each_comes_back_behind_the_one_before(
        self, runs: list[RunRow], lost: str, told: list[str]
    ) -> None:
        for run in runs:
            RunRow.objects.filter(pk=run.pk).update(crashes=1)
            assert lease.claim(run.pk, lost) is not None
        timers.take_over()
        assert told == []
        moments = sorted(RunRow.objects.filter(crashes=2).values_list("wake_at", flat=True))
        gaps = [(later - before).total_seconds() for before, later in pairwise(moments)]
        assert len(moments) == len(runs) > 2 and min(gaps) >= 4.9


class TestSuspects:
    """A run that was there when its worker died is run alone until it makes progress."""

    @pytest.fixture
    def suspect(self) -> RunRow:
        @workflow.workflow("test.quick")
        def quick(run: Run, nothing: Nothing) -> str:
            return "done"

        run = services.start_run("test.quick", {}, actor="user:ana")
        RunRow.objects.filter(pk=run.pk).update(alone=True)
        return run

    def test_an_old_hint_does_not_bring_it_among_others(self, suspect: RunRow) -> None:
        assert engine.advance(suspect.id, "wrk_threads", suspects=False) is Outcome.NOT_READY
        assert engine.advance(suspect.id, "wrk_alone") is Outcome.ENDED

    def test_where_nobody_takes_suspects_it_goes_back_among_others(self, suspect: RunRow) -> None:
        RunRow.objects.filter(pk=suspect.pk).update(wake_at=db_now())
        assert services.requeue(suspect.id)
        assert engine.advance(suspect.id, "wrk_threads", suspects=False) is Outcome.ENDED
