"""A run of many kinds of steps, seen in a browser: branches, a race, children, phone and desk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runs import engine, gate, services, workflow
from runs.context import Run
from runs.models import Run as RunRow
from tests.browser.conftest import DESKTOP, PHONE
from tests.runs.conftest import OpenGate
from tools import registry

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def family(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A parent that did things side by side and waits for two children."""
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))
    monkeypatch.setattr(gate, "_installed", OpenGate())
    with registry.scratch():

        @registry.tool(effect="read", name="look_around")
        def look_around(place: str) -> str:
            return place

        def walk(run: Run, place: str) -> str:
            run.tool(look_around, place)
            return str(run.tool(look_around, f"behind {place}"))

        @workflow.workflow("t.errand")
        def errand(run: Run, case: int) -> int:
            if case:
                run.sleep(3600)
            return case

        @workflow.workflow("t.house")
        def house(run: Run, case: int) -> None:
            run.gather(run.later(walk, "kitchen"), run.later(walk, "garden"))
            run.race(run.later(run.sleep, 3600), run.later(look_around, "hall"))
            run.child(errand, 0, intent="Post the letters")
            run.gather(run.later(run.child, errand, 60), run.later(run.child, errand, 90))

        run = services.start_run("t.house", 1, actor="user:omar", intent="Look after the house")
        for _ in range(4):
            for row in RunRow.objects.filter(state="queued"):
                engine.advance(row.id, "wrk_a")
        yield run


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desk"])
def test_the_page_of_a_family(
    visit: Callable[..., Any], family: RunRow, size: dict[str, Any], scheme: str, tmp_path: Path
) -> None:
    here = visit("omar", size, color_scheme=scheme)
    page = here.open(f"/runs/{family.id}/")
    place = Path(os.environ.get("HOLDPOINT_SHOTS", tmp_path))
    page.screenshot(path=place / f"family-{scheme}.png", full_page=True)
    assert here.overflow() <= 0
    assert page.get_by_role("heading", name="Child runs").is_visible()
    page.get_by_role("link", name="Post the letters").first.click()
    page.get_by_text("Child of").wait_for()
    page.screenshot(path=place / f"child-{scheme}.png", full_page=True)
    assert here.overflow() <= 0
