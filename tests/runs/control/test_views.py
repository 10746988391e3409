"""The pages of control: what is foreseen, what is done, and what is refused without a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from runs import services
from runs.models import Run as RunRow
from runs.states import RunState
from tests.runs.control.conftest import OMAR, written

pytestmark = pytest.mark.django_db(transaction=True)
In = Callable[[str], RunRow]
VERBS = ("pause", "resume", "cancel", "retry", "fork")


def person(name: str, *rights: str) -> Client:
    user = User.objects.create_user(name, password="x")
    for right in rights:
        app, codename = right.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def omar() -> Client:
    return person("omar", "runs.view_run", "runs.control_run")


def url(run: RunRow, verb: str) -> str:
    return f"/runs/{run.id}/control/{verb}/"


def test_it_works(in_state: In, omar: Client) -> None:
    run = in_state("waiting")
    assert "Pause</a>" in omar.get(f"/runs/{run.id}/").content.decode()
    shown = omar.get(url(run, "pause"))
    assert shown.status_code == 200 and "It stands still at once." in shown.content.decode()
    done = omar.post(url(run, "pause"), {"reason": "the night", "seen": "waiting"})
    assert (done.status_code, done["Location"]) == (303, f"/runs/{run.id}/")
    run.refresh_from_db()
    assert (run.state, run.history.latest().actor) == ("paused", OMAR)
    page = omar.get(f"/runs/{run.id}/").content.decode()
    assert "by omar: the night" in page and "Resume</a>" in page and "Pause</a>" not in page


def test_a_fork_leads_to_the_new_run(in_state: In, omar: Client) -> None:
    run = in_state("paused")
    done = omar.post(url(run, "fork"), {"reason": "a try", "step": "1"})
    fork = RunRow.objects.get(forked_from=run.id)
    assert done["Location"] == f"/runs/{fork.id}/"
    refused = omar.post(url(run, "fork"), {"reason": "a try", "step": "1", "version": "7"})
    assert refused.status_code == 422 and "has no version 7" in refused.content.decode()
    assert omar.post(url(run, "fork"), {"reason": "a try", "step": "9"}).status_code == 409


def test_retry_from_a_step(in_state: In, omar: Client) -> None:
    run = in_state("failed")
    shown = omar.get(f"{url(run, 'retry')}?step=1").content.decode()
    assert '<option value="1" selected>' in shown and "It goes back to step 1" in shown
    assert omar.post(url(run, "retry"), {"reason": "fixed", "step": "1"}).status_code == 303
    run.refresh_from_db()
    assert (run.state, run.generation) == ("queued", 1)
    assert "1 step that a retry went back over" in omar.get(f"/runs/{run.id}/").content.decode()


@pytest.mark.parametrize("verb", VERBS[:-1])
@pytest.mark.parametrize("state", list(RunState))
def test_a_wrong_state_is_a_conflict_that_keeps_what_was_typed(
    in_state: In, omar: Client, verb: str, state: str
) -> None:
    run = in_state(state)
    if verb in services.possible_with(run):
        return
    before = written()
    for answer in (omar.get(url(run, verb)), omar.post(url(run, verb), {"reason": "typed <b>"})):
        assert answer.status_code == 409
        text = answer.content.decode()
        assert f"{run.id} " in text and "UTC, by " in text
    assert "typed &lt;b&gt;" in text
    assert written() == before


def test_a_stale_page_does_nothing(in_state: In, omar: Client) -> None:
    run = in_state("paused")
    before = written()
    answer = omar.post(url(run, "cancel"), {"reason": "typed", "seen": "waiting"})
    text = answer.content.decode()
    assert answer.status_code == 409
    assert "This changed while you looked at it, so nothing was done." in text
    assert "is paused (since" in text and "by omar)" in text
    assert 'value="paused"' in text and "typed</textarea>" in text, "it can be sent again"
    assert written() == before


@pytest.mark.parametrize(
    "given", [{}, {"reason": "  "}, {"reason": "x" * 4001}, {"reason": "a", "step": "1" * 30}]
)
def test_a_form_that_is_not_filled_in(in_state: In, omar: Client, given: dict[str, str]) -> None:
    run = in_state("failed")
    before = written()
    assert omar.post(url(run, "retry"), given).status_code == 422
    assert written() == before


@pytest.mark.parametrize("verb", VERBS)
def test_who_may_not(in_state: In, verb: str) -> None:
    run = in_state("paused")
    ana = person("ana", "runs.view_run")
    before = written()
    for answer in (ana.get(url(run, verb)), ana.post(url(run, verb), {"reason": "because", "step": "1"})):
        assert answer.status_code == 403
    assert Client().post(url(run, verb), {"reason": "because"}).status_code == 302
    assert written() == before
    page = ana.get(f"/runs/{run.id}/").content.decode()
    assert "/control/" not in page and 'name="run"' not in ana.get("/runs/").content.decode()
    assert ana.get("/runs/several/?verb=pause&run=run_0").status_code == 403


def test_unknown_runs_verbs_and_methods(in_state: In, omar: Client) -> None:
    run = in_state("waiting")
    assert omar.post("/runs/run_0/control/pause/", {"reason": "because"}).status_code == 404
    assert omar.post(f"/runs/{run.id}/control/drop/", {"reason": "because"}).status_code == 404
    assert omar.put(url(run, "pause")).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="omar"))
    assert strict.post(url(run, "pause"), {"reason": "because"}).status_code == 403
    run.refresh_from_db()
    assert run.state == "waiting"


def test_several_are_foreseen_then_done(in_state: In, omar: Client) -> None:
    runs = [in_state("waiting"), in_state("succeeded"), in_state("queued")]
    assert f'name="run" value="{runs[0].id}"' in omar.get("/runs/").content.decode()
    chosen = {"verb": "pause", "run": [run.id for run in runs]}
    before = written()
    foreseen = omar.get("/runs/several/", chosen).content.decode()
    assert "3 chosen, 2 can be paused, 1 is in another state." in foreseen
    assert "Pause 2 runs" in foreseen and "Left out." in foreseen
    assert omar.post("/runs/several/", chosen).status_code == 422
    assert written() == before
    done: Any = omar.post("/runs/several/", {**chosen, "reason": "the night"})
    assert done.status_code == 200
    assert "3 chosen, 2 were paused, 1 is in another state." in done.content.decode()
    assert [RunRow.objects.get(pk=run.pk).state for run in runs] == ["paused", "succeeded", "paused"]


@pytest.mark.parametrize(
    "query", ["", "verb=pause", "verb=drop&run=run_0", "run=run_0", "verb=fork&run=run_0"]
)
def test_several_without_a_choice(omar: Client, query: str) -> None:
    assert omar.get(f"/runs/several/?{query}").status_code == 422


class TestAdmin:
    """Actions on the list of runs in the admin."""

    ACT = "/admin/runs/run/"

    def admin(self, *rights: str) -> Client:
        client = person("olga", "runs.view_run", *rights)
        User.objects.filter(username="olga").update(is_staff=True)
        return client

    @pytest.mark.parametrize("verb", VERBS[:-1])
    def test_foresees_and_leads_on(self, in_state: In, verb: str) -> None:
        run = in_state("paused")
        olga = self.admin("runs.control_run")
        before = written()
        answer = olga.post(self.ACT, {"action": f"{verb}_runs", "_selected_action": [run.id]})
        assert answer.status_code == 200
        text = answer.content.decode()
        assert f"1 chosen, {0 if verb == 'pause' else 1} can be" in text
        assert written() == before
        if verb != "pause":
            assert 'action="/runs/several/"' in text
            done = olga.post("/runs/several/", {"verb": verb, "run": [run.id], "reason": "because"})
            assert "1 chosen, 1 was" in done.content.decode()

    def test_is_not_offered_without_the_right(self, in_state: In) -> None:
        run = in_state("paused")
        olga = self.admin()
        before = written()
        assert "cancel_runs" not in olga.get(self.ACT).content.decode()
        olga.post(self.ACT, {"action": "cancel_runs", "_selected_action": [run.id]})
        assert written() == before
