"""Servers that write down what reaches them, a socket that sees every connection, and names for both."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.http import Api

HERE = Path(__file__).parent
CERTIFICATE = HERE / "certificate.pem"
API, FILES, WRONG = "api.example.test", "files.example.test", "wrong.example.test"


class Server:
    """One running server, and what it wrote down."""

    def __init__(self, scheme: str, folder: Path) -> None:
        self.scheme, self._log = scheme, folder / f"{scheme}.log"
        safe = [str(CERTIFICATE), str(HERE / "key.pem")] if scheme == "https" else []
        command = [sys.executable, str(HERE / "other_side.py"), str(self._log), *safe]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def url(self, host: str = API) -> str:
        return f"{self.scheme}://{host}:{self.port}"

    def seen(self, what: str = "request") -> list[dict[str, Any]]:
        """What it saw since it was last emptied."""
        text = self._log.read_text() if self._log.exists() else ""
        return [line for line in map(json.loads, text.splitlines()) if line["what"] == what]

    def paths(self) -> list[str]:
        return [f"{line['method']} {line['path']}" for line in self.seen()]

    def empty(self) -> None:
        self._log.unlink(missing_ok=True)

    def stop(self) -> None:
        self.process.communicate("", timeout=10)


def _served(scheme: str, folder: Path) -> Iterator[Server]:
    server = Server(scheme, folder)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _served("http", tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="session")
def _https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _served("https", tmp_path_factory.mktemp("other"))


class Judge:
    """A socket that takes every connection, says nothing, and counts them."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._taken: list[socket.socket] = []
        self._peers: list[Any] = []
        self._came = threading.Semaphore(0)
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                taken, peer = self._socket.accept()
            except OSError:
                return
            self._taken.append(taken)
            self._peers.append(peer)
            self._came.release()

    def saw_one(self) -> bool:
        """Waits until it saw one more."""
        return self._came.acquire(timeout=10)

    def count(self) -> int:
        """All that it saw by now: one of our own, made last, is waited for and not counted."""
        with real_connect(("127.0.0.1", self.port)) as last:
            mine = last.getsockname()
            while mine not in self._peers:
                self._came.acquire(timeout=10)
        return self._peers.index(mine)

    def close(self) -> None:
        self._socket.close()
        for taken in self._taken:
            taken.close()


_connect = socket.socket.connect
_lookup = socket.getaddrinfo


def real_connect(address: tuple[str, int]) -> socket.socket:
    made = socket.socket()
    _connect(made, address)
    return made


@pytest.fixture
def judge() -> Iterator[Judge]:
    made = Judge()
    yield made
    made.close()


Names = dict[str, list[Any]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Where hosts are: for each a list of answers of the resolver, the last of which stays."""
    known: Names = {host: [["127.0.0.1"]] for host in (API, FILES, WRONG)}

    def look(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        if host not in known:
            return _lookup(host, port, *args, **options)
        answers = known[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in found for entry in _lookup(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", look)
    return known


@pytest.fixture
def plain(_http: Server, names: Names, settings: Any) -> Server:
    """The server that speaks HTTP, and may be called."""
    _http.empty()
    settings.HOLDPOINT_PRIVATE_HOSTS = [f"{API}:{_http.port}", *settings.HOLDPOINT_PRIVATE_HOSTS]
    return _http


@pytest.fixture
def safe(_https: Server, names: Names, settings: Any) -> Server:
    """The server that speaks HTTPS, and may be called by two names."""
    _https.empty()
    allowed = [f"{host}:{_https.port}" for host in (API, FILES, WRONG)]
    settings.HOLDPOINT_PRIVATE_HOSTS = [*allowed, *settings.HOLDPOINT_PRIVATE_HOSTS]
    return _https


Make = Callable[..., Api]


@pytest.fixture
def api(plain: Server) -> Api:
    return Api(plain.url(), timeout=10)


@pytest.fixture
def safe_api(safe: Server) -> Make:
    def make(host: str = API, **options: Any) -> Api:
        return Api(safe.url(host), **{"timeout": 10, "trusted": str(CERTIFICATE), **options})

    return make
