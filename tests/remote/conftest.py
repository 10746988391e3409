"""Real MCP servers, declared in a file, with what they did in a ledger of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from pytest_django import Settings

from ops.launch.processes import wait_until
from tests.remote import offered
from tools import registry
from tools.mcp import review, servers
from tools.mcp import session as sessions
from tools.mcp.tool import McpTool, mcp_tool

SERVING = Path(__file__).with_name("serving.py")
Declared = Callable[..., None]


class Ledger:
    """What the servers of one test did, and what they offer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def calls(self, tool: str = "") -> list[dict[str, Any]]:
        file = self.folder / "ledger"
        lines = file.read_text().splitlines() if file.exists() else []
        return [each for each in map(json.loads, lines) if tool in ("", each["tool"])]

    def offer(self, tool: str, **changed: Any) -> None:
        """From now on the server offers this tool otherwise."""
        told = {name: dict(each) for name, each in offered.OFFERS.items()}
        told[tool] |= changed
        (self.folder / "offers.json").write_text(json.dumps(told))

    def offer_no_longer(self, tool: str) -> None:
        told = {name: each for name, each in offered.OFFERS.items() if name != tool}
        (self.folder / "offers.json").write_text(json.dumps(told))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    folder = tmp_path / "server"
    folder.mkdir()
    return Ledger(folder)


@pytest.fixture(autouse=True)
def own_sessions() -> Iterator[None]:
    with registry.scratch():
        yield
    live = list(sessions._sessions.values())
    sessions.close_all()
    assert wait_until(lambda: all(each.closed for each in live), 20)


@pytest.fixture
def declare(tmp_path: Path, settings: Settings) -> Iterator[Declared]:
    """Declare servers: ``declare(crm={...})``."""

    def write(**told: Any) -> None:
        file = tmp_path / "servers.json"
        file.write_text(json.dumps(told))
        settings.HOLDPOINT_MCP_SERVERS = str(file)
        servers._read.cache_clear()

    yield write
    servers._read.cache_clear()


def command(ledger: Ledger) -> dict[str, Any]:
    """The declaration of a server that is started as a child."""
    return {"command": [sys.executable, str(SERVING), str(ledger.folder), "stdio"], "timeout": 10}


@pytest.fixture
def over_http(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """The declaration of a server that is reached by HTTP, and runs."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [sys.executable, str(SERVING), str(ledger.folder), str(port)]
    with subprocess.Popen(line) as process:
        try:
            assert wait_until(lambda: _answers(port), 20)
            yield {"url": f"http://127.0.0.1:{port}/mcp", "timeout": 10}
        finally:
            process.kill()


def _answers(port: int) -> bool:
    with closing(socket.socket()) as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=["stdio", "http"])
def crm(request: pytest.FixtureRequest, declare: Declared, ledger: Ledger) -> str:
    """A server called crm, of each kind."""
    told = command(ledger) if request.param == "stdio" else request.getfixturevalue("over_http")
    declare(crm=told)
    return "crm"


@pytest.fixture
def piped(declare: Declared, ledger: Ledger) -> str:
    """A server called crm that is a child of this process."""
    declare(crm=command(ledger))
    return "crm"


@pytest.fixture
def omar(db: None) -> User:
    person = User.objects.create_user("omar", password="x")
    person.user_permissions.add(Permission.objects.get(codename="sign_remotetool"))
    return person


def sync(server: str = "crm") -> review.Synced:
    """Read what the server offers, as the command does."""
    session = sessions.session_of(servers.server(server), 20)
    try:
        session.look(20)
        return review.take(session.server, session.offers, actor="user:omar")
    finally:
        session.leave()


def signed(remote: str, **how: Any) -> McpTool:
    """The tool, read and signed."""
    sync()
    tool = mcp_tool("crm", remote)
    review.sign(tool.name, actor="user:omar", reason="Read it.", **how)
    return tool


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
