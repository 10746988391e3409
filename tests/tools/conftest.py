"""The tool layer alone: tools declared in a test are forgotten when it ends, and no run listens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools import ports, registry


@pytest.fixture(autouse=True)
def forgotten_tools() -> Iterator[None]:
    with registry.scratch():
        yield


@pytest.fixture(autouse=True)
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "lock_run", lambda run_id: None)
    monkeypatch.setattr(ports, "on_settled", lambda call: None)
    monkeypatch.setattr(ports, "on_said", lambda *said: None)
    monkeypatch.setattr(ports, "requester_of", lambda run_id: "")
    monkeypatch.setattr(ports, "arguments_of", lambda call: None)
    monkeypatch.setattr(ports, "users_of", lambda tool: [])
