"""What a model says is kept as any other value: made harmless, and beside its row when it is large."""

from __future__ import annotations

from typing import Any

import pytest

from runs import agent as agents
from runs import engine, journal, services, workflow
from runs.agent import agent
from runs.agents.script import Say
from runs.context import Run
from runs.models import Blob, Step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


@pytest.fixture(autouse=True)
def own_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test declares its own."""
    monkeypatch.setattr(agents, "_agents", {})


def play(said: str) -> tuple[Any, list[Any]]:
    """What a run ends with whose agent says that, and what its code saw each time it ran."""
    seen: list[Any] = []
    writer = agent("odd-writer", output=str, instructions="Write.", script=lambda talk: Say(said))

    @workflow.workflow("t.odd")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        seen.append(run.agent(writer, "Write."))
        run.wait_for("go")
        return len(seen[-1])

    run = services.start_run("t.odd", {}, actor="user:ana")
    engine.advance(run.id, "wrk_a")
    services.send_message(run.id, "go", None, actor="user:ana")
    engine.advance(run.id, "wrk_b")
    run.refresh_from_db()
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []
    return run.output, seen


def test_it_works() -> None:
    assert play("plain") == (5, ["plain", "plain"])


def test_text_that_no_database_keeps() -> None:
    output, seen = play("a\x00b")
    assert (output, seen) == (3, ["a\ufffdb"] * 2), "the same the first time and on replay"


def test_a_large_answer_is_kept_beside_its_row() -> None:
    output, seen = play("x" * 300_000)
    assert output == 300_000
    assert seen[0] == seen[1]
    kept = Step.objects.filter(kind__in=["model", "agent"]).order_by("position")
    assert all(step.result is None and step.blob for step in kept)
    assert Blob.objects.count() == 2
