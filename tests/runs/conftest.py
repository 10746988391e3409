"""Small workflows and tools for the engine's own tests, in a registry that is emptied afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runs import gate, workflow
from runs.gate import Go, Hold, ProposedCall, Refuse, Verdict
from runs.journal import Entry
from tests.runs.dying import World
from tools import registry


@pytest.fixture(autouse=True)
def own_registries(installed_tools: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that a test declares outlives it."""
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))
    with registry.scratch():
        yield


class OpenGate:
    """Lets everything pass: for tests of what comes after the gate."""

    def review(self, call: ProposedCall) -> Verdict:
        return Go(policy="test")

    def open(self, call: ProposedCall, hold: Hold) -> list[Entry]:
        raise AssertionError("nothing is held here")

    def answer(self, call: ProposedCall) -> Verdict:
        return Refuse("policy", "nothing was held")

    def withdraw(self, run_id: str, reason: str, *, step_id: str = "") -> list[Entry]:
        return []


@pytest.fixture
def open_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a gate that lets everything pass."""
    monkeypatch.setattr(gate, "_installed", OpenGate())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """What happens outside, whoever did it and whatever became of them."""
    return World(tmp_path / "world")
