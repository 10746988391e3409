"""The form for an unknown outcome in a real browser: it asks for a result only where there was one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from playwright.sync_api import expect
from pydantic import BaseModel

from runs import engine, gate, services, workflow
from runs.clock import db_now
from runs.context import Run
from tests.browser.conftest import DESKTOP, PHONE
from tests.runs.conftest import OpenGate
from tools import registry
from tools.contract import IdempotencyKey
from tools.failures import UnknownOutcome
from tools.models import ToolCall

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


class Receipt(BaseModel):
    """What the bank answers."""

    transaction: str
    cents: int


@pytest.fixture
def call(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, people: dict[str, User]
) -> Iterator[ToolCall]:
    """A call in doubt, which Omar may settle."""
    people["omar"].user_permissions.add(Permission.objects.get(codename="settle_toolcall"))
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))
    with registry.scratch():

        @registry.tool(effect="irreversible", risk="high", timeout=1)
        def wire(cents: int, *, key: IdempotencyKey) -> Receipt:
            raise UnknownOutcome("The bank gave no answer within 30 s")

        @workflow.workflow("t.wires")
        def wires(run: Run, cents: int) -> Receipt:
            return Receipt.model_validate(run.tool(wire, cents))

        with monkeypatch.context() as patch:
            patch.setattr(gate, "_installed", OpenGate())
            run = services.start_run("t.wires", 950, actor="user:bea", intent="Pay invoice 17")
            engine.advance(run.id, "wrk_a")
        ToolCall.objects.update(not_before=db_now() - timedelta(seconds=1))
        yield ToolCall.objects.get()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desk", "phone"])
def test_it_works(visit: Callable[..., Any], call: ToolCall, size: dict[str, Any]) -> None:
    window = visit("omar", size)
    page = window.open(f"/runs/{call.run_id}/")
    expect(page.get_by_label("Transaction")).to_be_hidden()
    page.get_by_label("It did not happen").check()
    expect(page.get_by_label("Transaction")).to_be_hidden()
    page.get_by_label("It happened").check()
    page.get_by_label("Transaction").fill("T-17")
    assert window.overflow() == 0
    page.get_by_label("How do you know?").fill("It is in the bank's list")
    page.get_by_role("button", name="Put it on record").click()
    expect(page.get_by_text("Cents: write a whole number")).to_be_visible()
    assert window.overflow() == 0
    page.get_by_label("Cents").fill("950")
    page.get_by_role("button", name="Put it on record").click()
    page.wait_for_url(f"**/runs/{call.run_id}/")
    expect(page.get_by_role("button", name="Put it on record")).to_have_count(0)
    call.refresh_from_db()
    assert (call.state, call.settled_by) == ("succeeded", "user:omar")
