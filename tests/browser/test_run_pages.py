"""Pages around a run in a real browser: questions beside decisions, what a choice does, long texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from playwright.sync_api import expect

from approvals.models import Approval
from runs import engine, gate, services, workflow
from runs.context import Run
from runs.models import Run as RunRow
from tests.browser.conftest import DESKTOP, PHONE
from tests.runs.conftest import OpenGate
from tools import registry

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LONG = "x" * 3000


@pytest.fixture
def begin(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Start a run and take it as far as it goes: ``begin("t.asks", "Which one?")``."""
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))
    with registry.scratch():

        @registry.tool(effect="read", name="look_around")
        def look_around(place: str) -> str:
            return place

        @workflow.workflow("t.asks")
        def asks(run: Run, question: str) -> str:
            return str(run.ask(question))

        @workflow.workflow("t.breaks")
        def breaks(run: Run, said: str) -> None:
            run.artifact("report.md", "May", media_type="text/markdown")
            run.tool(look_around, said)
            run.tool(look_around, "hall")
            raise ValueError(said)

        def begun(name: str, value: str, intent: str = "") -> RunRow:
            with monkeypatch.context() as patch:
                patch.setattr(gate, "_installed", OpenGate())
                run = services.start_run(name, value, actor="user:omar", intent=intent)
                engine.advance(run.id, "wrk_a")
            run.refresh_from_db()
            return run

        yield begun


def grant(person: User, *codenames: str) -> None:
    person.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_questions_stand_in_the_list_and_push_no_decision_away(
    visit: Callable[..., Any],
    ask: Callable[..., Approval],
    begin: Callable[..., RunRow],
    people: dict[str, User],
    size: dict[str, Any],
) -> None:
    grant(people["bea"], "answer_question")
    ask("medium")
    for number in range(5):
        begin("t.asks", f"Which account for invoice {number}? {LONG}")
    here = visit("bea", size)
    page = here.open("/queue/")
    first = page.locator("#list .item").first
    expect(first).to_contain_text("Which account for invoice 0?")
    assert here.overflow() <= 0
    if size is PHONE:
        page.locator("#list .item").last.click()
        back = page.get_by_role("link", name="Back to the queue")
        assert back.evaluate("link => parseFloat(getComputedStyle(link).paddingLeft)") >= 16
        back.click()
        expect(first).to_be_visible()
    else:
        expect(page.get_by_role("button", name="Approve")).to_be_in_viewport()
        assert page.locator("#what").bounding_box()["y"] < 200
    first.click()
    expect(page.get_by_label("Your answer")).to_be_visible()
    expect(page.get_by_label("Your answer")).to_be_in_viewport()
    assert here.overflow() <= 0


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "none"])
def test_a_choice_says_what_it_does_before_it_is_done(
    visit: Callable[..., Any], begin: Callable[..., RunRow], people: dict[str, User], scripts: bool
) -> None:
    run = begin("t.breaks", "no closing balance")
    page = visit("omar", java_script_enabled=scripts).open(f"/runs/{run.id}/")
    page.get_by_role("link", name="Retry", exact=True).click()
    page.get_by_label("Begin again").select_option("2")
    if not scripts:
        page.get_by_role("button", name="Show what that does").click()
    expect(page.get_by_text("It goes back to step 2")).to_be_visible()
    page.get_by_label("Why").fill("The balance is there now")
    page.get_by_role("button", name="Retry this run from step 2").click()
    page.wait_for_url(f"**/runs/{run.id}/")
    run.refresh_from_db()
    assert (run.state, run.generation) == ("queued", 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_on_a_phone(
    visit: Callable[..., Any], begin: Callable[..., RunRow], people: dict[str, User], scheme: str
) -> None:
    grant(people["omar"], "view_artifact_content")
    run = begin("t.breaks", LONG, intent=LONG[:900])
    here = visit("omar", PHONE, color_scheme=scheme)
    tabs = ("", "?tab=journal", "?tab=calls", "?tab=artifacts", "?tab=history")
    addresses = [f"/runs/{run.id}/{tab}" for tab in tabs]
    for address in [*addresses, f"/runs/{run.id}/control/retry/?step=2", f"/runs/{run.id}/control/fork/"]:
        page = here.open(address)
        assert here.overflow() <= 0, address
        if "artifacts" in address:
            version = page.get_by_role("link", name="Version 1")
            assert version.bounding_box()["height"] < 30  # on one line
        if "journal" in address:
            told = page.locator(".journal > li").first
            clock, kind = (told.locator(part).bounding_box() for part in ("time", "summary.meta"))
            assert clock["x"] + clock["width"] + 24 <= kind["x"]  # room for the mark of the fold
        if "fork" in address:
            style = "field => getComputedStyle(field).font + getComputedStyle(field).borderTopColor"
            assert page.locator("#version").evaluate(style) == page.locator("#reason").evaluate(style)
