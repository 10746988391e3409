"""Runs in every state, and workflows to control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs import engine, gate, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.gate import Go, ProposedCall, Verdict
from runs.models import Run as RunRow
from runs.turns import lease
from tests.record import everything
from tests.runs.conftest import OpenGate
from tools.failures import Fatal
from tools.registry import tool

ANA, OMAR = "user:ana", "user:omar"


class PassingGate(OpenGate):
    """Lets everything pass, also what is tried again."""

    def answer(self, call: ProposedCall) -> Verdict:
        return Go(policy="test")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, talking_broker: None) -> None:
    """A gate that lets everything pass."""
    monkeypatch.setattr(gate, "_installed", PassingGate())


def start(name: str = "c.nap", value: Any = None) -> RunRow:
    return services.start_run(name, value or {}, actor=ANA)


def turn(run: RunRow, worker: str = "wrk_a") -> engine.Outcome:
    outcome = engine.advance(run.id, worker)
    run.refresh_from_db()
    return outcome


@pytest.fixture
def nap() -> str:
    """A workflow that waits for an hour, then looks."""

    @tool(effect="read", name="c_look")
    def look() -> str:
        return "seen"

    @workflow.workflow("c.nap")
    def flow(run: Run, case: dict[str, Any]) -> str:
        run.sleep(3600)
        return str(run.tool(look))

    return "c.nap"


class Makers:
    """How a run comes into each state."""

    def queued(self) -> RunRow:
        return start()

    def running(self) -> RunRow:
        run = start()
        assert lease.claim(run.id, "wrk_a") is not None
        run.refresh_from_db()
        return run

    def waiting(self) -> RunRow:
        run = start()
        turn(run)
        return run

    def pausing(self) -> RunRow:
        return services.pause_run(self.running().id, actor=OMAR, reason="a look")

    def paused(self) -> RunRow:
        return services.pause_run(self.waiting().id, actor=OMAR, reason="a look")

    def cancelling(self) -> RunRow:
        return services.cancel_run(self.running().id, actor=OMAR, reason="not needed")

    def needs_attention(self) -> RunRow:
        run = start()
        for _ in range(services.MAX_CRASHES):
            claimed = lease.claim(run.id, "wrk_dead")
            assert claimed is not None
            services.rescue_run(
                run.id, claimed.run.lease_epoch, reason="it died", died=True, proven=True, alone=False
            )
        run.refresh_from_db()
        return run

    def succeeded(self) -> RunRow:
        run = self.waiting()
        run.steps.update(due_at=db_now())
        RunRow.objects.filter(pk=run.pk).update(wake_at=db_now())
        assert services.wake_due(run.id)
        turn(run)
        return run

    def failed(self) -> RunRow:
        @tool(effect="read", name="c_break")
        def breaks() -> str:
            raise Fatal("no")

        @workflow.workflow("c.break")
        def flow(run: Run, case: dict[str, Any]) -> str:
            return str(run.tool(breaks))

        run = start("c.break")
        turn(run)
        return run

    def cancelled(self) -> RunRow:
        return services.cancel_run(self.waiting().id, actor=OMAR, reason="not needed")


@pytest.fixture
def in_state(nap: str) -> Callable[[str], RunRow]:
    """A run in the state asked for."""

    def make(state: str) -> RunRow:
        run: RunRow = getattr(Makers(), state)()
        assert run.state == state
        return run

    return make


def written() -> Any:
    """All rows, to see that nothing was written."""
    return everything()
