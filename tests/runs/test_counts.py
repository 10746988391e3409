"""Counts that stay quick: exact while there are few, and saying so when there are more."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject
from pydantic import BaseModel

from runs import services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from runs.pages import counts
from runs.pages.queries import RunFilter, run_list
from runs.states import RunState
from tools.counting import Count, up_to

pytestmark = pytest.mark.django_db


class Nothing(BaseModel):
    """No input."""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[RunRow]:
    """Five that are queued for ana, two that failed for ben, and one that was put away."""
    settings.HOLDPOINT_ACTIVATION = False
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))

    @workflow.workflow("counts.rest")
    def rest(run: Run, nothing: Nothing) -> None: ...

    made = [services.start_run("counts.rest", {}, actor="user:ana") for _ in range(5)]
    made += [services.start_run("counts.rest", {}, actor="user:ben", intent="Mend it") for _ in range(3)]
    names = [run.pk for run in made[5:]]
    RunRow.objects.filter(pk__in=names).update(state="failed", finished_at=db_now())
    RunRow.objects.filter(pk=names[-1]).update(archived_at=db_now())
    return made


def test_it_works(runs: list[RunRow]) -> None:
    with CaptureQueriesContext(connection) as asked:
        found = counts.by_state(Q())
    assert len(asked) == 1
    assert {state: count for state, count in found.items() if count} == {"queued": 5, "failed": 2}
    assert set(found) == set(RunState)
    assert not any(count.more for count in found.values())


def test_filters_count_too(runs: list[RunRow]) -> None:
    found = counts.by_state(Q(requester="user:ben") & Q(intent__icontains="mend"))
    assert (found[RunState.QUEUED], found[RunState.FAILED]) == (0, 2)


def test_beyond_the_limit_it_says_at_least(runs: list[RunRow]) -> None:
    found = counts.by_state(Q(), most=4)
    assert [str(found[state]) for state in (RunState.QUEUED, RunState.FAILED)] == ["4+", "2"]
    # Among the newest four are these; there may be others.
    assert str(counts.by_state(Q(requester="user:ana"), most=4)[RunState.QUEUED]) == "4+"
    assert str(counts.by_state(Q(requester="user:ben"), most=4)[RunState.QUEUED]) == "0+"
    assert str(up_to(RunRow.objects.filter(state="queued"), most=4)) == "4+"
    assert str(up_to(RunRow.objects.filter(state="queued"), most=5)) == "5"


def test_a_sum_is_as_exact_as_its_parts() -> None:
    assert str(sum([Count(2), Count(3)], Count())) == "5"
    assert str(sum([Count(10_000, more=True), Count(3)], Count())) == "10,003+"


@pytest.mark.parametrize("lazy", [False, True])
def test_pages_show_it_as_it_reads(lazy: bool) -> None:
    count = Count(10_000, more=True)
    context = Context({"count": SimpleLazyObject(lambda: count) if lazy else count})
    assert Template("{{ count }}").render(context) == "10,000+"


def test_one_that_was_put_away_is_found_by_its_id(runs: list[RunRow]) -> None:
    ana = User.objects.create_user("ana")
    found = run_list(RunFilter(text=runs[-1].pk), ana)
    assert [run.pk for run in found.runs] == [runs[-1].pk]
    assert found.total == found.all_states == 1


def test_pages_go_on_where_they_stopped(runs: list[RunRow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.pages.queries.PAGE", 3)
    moment = runs[0].created_at
    RunRow.objects.filter(pk__in=[run.pk for run in runs[:4]]).update(created_at=moment)
    ana, seen, before = User.objects.create_user("ana"), [], ""
    while not seen or before:
        found = run_list(RunFilter(before=before), ana)
        seen += [run.pk for run in found.runs]
        before = found.next_before
    assert sorted(seen) == sorted(run.pk for run in runs[:-1])
    assert len(set(seen)) == len(seen)
