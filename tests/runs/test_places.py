"""Limits on runs: never more under way than a workflow allows, and whoever stands first in line is next."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from pydantic import BaseModel

from runs import endings, engine, journal, services, timers, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import JournalEntry
from runs.models import Run as RunRow
from runs.services import places
from runs.states import RUN_ENDED
from tests.together import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
OMAR = "user:omar"


class Case(BaseModel):
    """An input."""

    customer: str = "maya"
    fails: bool = False
    sleeps: bool = False


@pytest.fixture(autouse=True)
def limited() -> None:
    def work(run: Run, case: Case) -> str:
        if case.sleeps:
            run.sleep(3600)
        if case.fails:
            raise ValueError("It cannot be done")
        return case.customer

    @workflow.workflow("test.two", at_most=2)
    def two(run: Run, case: Case) -> str:
        return work(run, case)

    @workflow.workflow("test.one_a_customer", at_most_per_key=1, limit_key=lambda case: case.customer)
    def one_a_customer(run: Run, case: Case) -> str:
        return work(run, case)

    @workflow.workflow("test.both", at_most=3, at_most_per_key=1, limit_key=lambda case: case.customer)
    def both(run: Run, case: Case) -> str:
        return work(run, case)


def start(name: str, customer: str = "maya", *, priority: int = 5, **case: Any) -> RunRow:
    return services.start_run(name, {"customer": customer, **case}, actor=OMAR, priority=priority)


def end(run: RunRow) -> None:
    assert engine.advance(run.id, "worker") is engine.Outcome.ENDED


def under_way(*runs: RunRow) -> list[bool]:
    rows = {run.id: run for run in RunRow.objects.filter(pk__in=[run.id for run in runs])}
    return [rows[run.id].placed is True and rows[run.id].state not in RUN_ENDED for run in runs]


def whole(run: RunRow) -> bool:
    row = RunRow.objects.get(pk=run.pk)
    return not list(journal.verify(row, row.journal.order_by("seq")))


class TestAtMost:
    def test_it_works(self) -> None:
        first, second, third = (start("test.two") for _ in range(3))
        assert (first.state, second.state) == ("queued", "queued")
        assert (third.state, third.placed, third.wake_at) == ("waiting", False, None)
        assert third.waiting_for == "a free place: 2 of 2 runs are under way"
        assert engine.advance(third.id, "worker") is engine.Outcome.NOT_READY
        end(first)
        third.refresh_from_db()
        assert (third.state, third.placed, third.waiting_for) == ("queued", True, "")
        end(third)
        assert list(third.journal.order_by("seq").values_list("sentence", flat=True))[1:3] == [
            "Waits for a free place: 2 of 2 runs are under way",
            "Has its place: 2 of 2 under way",
        ]
        assert all(whole(run) for run in (first, second, third))

    def test_priority_first_then_age(self) -> None:
        under = [start("test.two", sleeps=True), start("test.two")]
        line = [start("test.two", priority=priority) for priority in (5, 9, 5, 1, 9)]
        order = []
        going = under[1]
        for _ in line:
            end(going)
            going = next(run for run, has in zip(line, under_way(*line), strict=True) if has)
            order.append(line.index(going))
        assert order == [1, 4, 0, 2, 3]

    def test_a_waiting_run_keeps_its_place(self) -> None:
        first = start("test.two", sleeps=True)
        second = start("test.two", sleeps=True)
        third = start("test.two")
        assert engine.advance(first.id, "worker") is engine.Outcome.WAITING
        services.pause_run(second.id, actor=OMAR, reason="wait")
        timers.sweep()
        assert under_way(first, second, third) == [True, True, False]

    def test_a_failed_and_a_cancelled_run_give_theirs_back(self) -> None:
        first, second = start("test.two", fails=True), start("test.two")
        third, fourth = start("test.two"), start("test.two")
        end(first)
        services.cancel_run(second.id, actor=OMAR, reason="not needed")
        assert under_way(third, fourth) == [True, True]

    def test_whoever_is_paused_or_cancelled_in_line_lets_the_next_one_pass(self) -> None:
        first, _, third, fourth = (start("test.two") for _ in range(4))
        services.pause_run(third.id, actor=OMAR, reason="wait")
        end(first)
        assert under_way(third, fourth) == [False, True]
        services.resume_run(third.id, actor=OMAR, reason="go on")
        third.refresh_from_db()
        assert (third.state, third.waiting_for) == ("waiting", "a free place: 2 of 2 runs are under way")

    def test_a_retry_stands_in_line(self) -> None:
        first, second = start("test.two", fails=True), start("test.two")
        third = start("test.two")
        end(first)
        assert under_way(second, third) == [True, True]
        services.retry_run(first.id, actor=OMAR, reason="again")
        assert under_way(first, second, third) == [False, True, True]
        end(second)
        assert under_way(first) == [True]

    def test_a_place_whose_end_nobody_told_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = start("test.two"), start("test.two")
        third = start("test.two")
        monkeypatch.setattr(endings, "ended", lambda run: None)
        end(first)
        assert under_way(second, third) == [True, False]
        assert timers.hand_on_places() == 1
        assert under_way(second, third) == [True, True]
        assert timers.hand_on_places() == 0

    def test_a_run_whose_starter_died_before_it_had_its_place_is_found(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(places, "give_places", lambda *asked: 0)
            run = start("test.two")
        assert (run.state, run.waiting_for) == ("waiting", "a free place")
        assert run.wake_at is not None
        RunRow.objects.filter(pk=run.pk).update(wake_at=db_now())
        timers.sweep()
        assert under_way(run) == [True]

    def test_a_hint_for_a_run_in_line_does_nothing(self) -> None:
        *_, third = (start("test.two") for _ in range(3))
        RunRow.objects.filter(pk=third.pk).update(state="queued", wake_at=db_now())
        assert engine.advance(third.id, "worker") is engine.Outcome.NOT_READY
        timers.sweep()
        third.refresh_from_db()
        assert (third.state, third.placed) == ("waiting", False)

    def test_more_places_after_a_deploy_are_filled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        line = [start("test.two") for _ in range(5)]
        known = workflow._registry["test.two", 1]
        monkeypatch.setitem(workflow._registry, ("test.two", 1), replace(known, at_most=4))
        assert timers.fill_places() == 1
        assert under_way(*line) == [True] * 4 + [False]
        monkeypatch.setitem(workflow._registry, ("test.two", 1), replace(known, at_most=None))
        assert timers.fill_places() == 1
        last = RunRow.objects.get(pk=line[4].pk)
        assert (last.state, last.placed) == ("queued", None)

    def test_a_start_at_its_time_stands_in_line_too(self) -> None:
        start("test.two"), start("test.two")
        later = services.start_run("test.two", {}, actor=OMAR, start_at=db_now() + timedelta(hours=1))
        assert later.waiting_for.startswith("its start at")
        past = db_now() - timedelta(seconds=1)
        RunRow.objects.filter(pk=later.pk).update(start_at=past, wake_at=past)
        timers.sweep()
        later.refresh_from_db()
        assert later.waiting_for == "a free place: 2 of 2 runs are under way"


class TestPerKey:
    def test_it_works(self) -> None:
        maya, again, nadir = (start("test.one_a_customer", who) for who in ("maya", "maya", "nadir"))
        assert under_way(maya, again, nadir) == [True, False, True]
        again.refresh_from_db()
        assert again.waiting_for == "a free place: 1 of 1 run for maya is under way"
        end(nadir)
        assert under_way(again) == [False]
        end(maya)
        assert under_way(again) == [True]

    def test_whoever_has_no_key_is_not_limited(self) -> None:
        assert under_way(start("test.one_a_customer", ""), start("test.one_a_customer", "")) == [True, True]

    def test_a_long_key_is_told_from_its_neighbour(self) -> None:
        runs = [start("test.one_a_customer", "x" * 300 + tail) for tail in "aba"]
        assert under_way(*runs) == [True, True, False]

    def test_both_limits_hold_and_nobody_is_held_up_by_the_key_of_another(self) -> None:
        runs = [start("test.both", who) for who in ("maya", "maya", "nadir", "irene", "vera")]
        assert under_way(*runs) == [True, False, True, True, False]
        end(runs[2])
        assert under_way(runs[1], runs[4]) == [False, True]
        end(runs[0])
        assert under_way(runs[1]) == [True]

    def test_places_that_a_deploy_brought_are_filled_by_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        line = [start("test.one_a_customer", who) for who in ("maya", "maya", "maya", "nadir", "nadir")]
        assert timers.fill_places() == 0
        known = workflow._registry["test.one_a_customer", 1]
        changed = replace(known, at_most_per_key=2)
        monkeypatch.setitem(workflow._registry, ("test.one_a_customer", 1), changed)
        assert timers.fill_places() == 2
        assert under_way(*line) == [True, True, False, True, True]


class TestTogether:
    """Processes that start and end runs at the same time."""

    @pytest.mark.parametrize("name", ["test.two", "test.one_a_customer", "test.both"])
    def test_the_limit_is_never_passed(self, name: str) -> None:
        """Each ending is told after a random moment; an observer looks at the rows all the while."""
        rounds, starters = 12, 3

        def starter(number: int) -> int:
            run = start(name, random.choice(["maya", "nadir"]))  # noqa: S311
            return int(bool(run.id))

        def worker(number: int) -> int:
            ended = 0
            for run_id in RunRow.objects.filter(state="queued", workflow=name).values_list("id", flat=True):
                time.sleep(random.uniform(0, 0.005))  # noqa: S311 - so that ends and starts meet
                ended += engine.advance(run_id, "worker") is engine.Outcome.ENDED
            return ended

        def observer(number: int) -> int:
            return sum(passed(name) for _ in range(30))

        told = at_once(rounds, [*[starter] * starters, worker, worker, observer])
        assert sum(seen[-1] for seen in told) == 0, "the limit was passed"
        assert sum(sum(seen[starters:-1]) for seen in told) > 0, "nothing ended meanwhile"
        drain(name)
        rows = RunRow.objects.filter(workflow=name)
        assert {row.state for row in rows} == {"succeeded"}
        assert rows.count() == rounds * starters
        let_in = JournalEntry.objects.filter(kind="run.let_in").values_list("run_id", flat=True)
        assert sorted(let_in) == sorted(row.id for row in rows), "each got its place once"
        assert not rows.filter(placed=True).exists()


def passed(name: str) -> bool:
    """Whether, in one look at the rows, more runs are under way than the workflow allows."""
    definition = workflow.get(name)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT limit_key, count(*) FROM runs_run WHERE workflow = %s AND placed AND state NOT IN "
            "('succeeded', 'failed', 'cancelled') GROUP BY limit_key",
            [name],
        )
        taken = dict(cursor.fetchall())
    over_all = definition.at_most is not None and sum(taken.values()) > definition.at_most
    a_key = definition.at_most_per_key
    return over_all or (a_key is not None and max(taken.values(), default=0) > a_key)


def drain(name: str) -> None:
    """Work until nothing is left; every start and every end was told, so no caretaker is needed."""
    while ready := list(RunRow.objects.filter(workflow=name, state="queued").values_list("id", flat=True)):
        for run_id in ready:
            engine.advance(run_id, "worker")
