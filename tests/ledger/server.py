"""The outside world as a process of its own, with an append-only file that no transaction can roll back.

``python -m tests.ledger.server FILE`` prints the port on which it listens, on loopback; it ends with whoever
holds its standard input. Each request says how the other side shall behave (`WAYS`), one word for each
request of the case, the last one for all that follow. Every request and every effect is a line of the file,
on disk before anything is answered.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any


@dataclass(frozen=True)
class Way:
    """How the other side behaves: whether it does what it is asked for, and what it answers then."""

    does: bool
    status: int = 200
    answer: str = "receipt"  # or: nothing, hang, page, misfit, or the word in which it says no
    wait: float = 0.0  # seconds before it answers
    retry_after: str = ""


WAYS = {
    "ok": Way(True),
    "slow": Way(True, wait=0.03),
    "hang": Way(True, answer="hang"),
    "drop": Way(True, answer="nothing"),
    "500-before": Way(False, 500),
    "500-after": Way(True, 500),
    "429": Way(False, 429, retry_after="1"),
    "400": Way(False, 400),
    "401": Way(False, 401),
    "403": Way(False, 403),
    "409": Way(False, 409),
    "garbage": Way(True, answer="page"),
    "misfit": Way(True, answer="misfit"),
    # An answer of its own, from which the tool knows for certain that nothing was done.
    "refused": Way(False, answer="refused"),
    "invalid": Way(False, answer="invalid_data"),
    "stale": Way(False, answer="stale_data"),
    "forbidden": Way(False, answer="permission"),
    "unsure": Way(False, answer="low_confidence"),
    "incomplete": Way(False, answer="needs_input"),
    "too-dear": Way(False, answer="budget"),
    # It took it, and cannot say what became of it.
    "lost": Way(True, answer="unknown_outcome"),
}


class Book:
    """What was asked for and what was done: the file, and what a provider remembers of it."""

    def __init__(self, place: Path) -> None:
        self._file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._done: dict[str, dict[str, Any]] = {}

    def ask(self, request: dict[str, Any]) -> tuple[Way, int]:
        """How the other side behaves, and which request of its case it is. A write is done once a key."""
        sealed = hashlib.sha256(json.dumps(request["arguments"], sort_keys=True).encode()).hexdigest()
        line = {name: request[name] for name in ("tool", "effect", "case", "key")} | {"digest": sealed}
        with self._lock:
            self._asked[request["case"]] += 1
            number = self._asked[request["case"]]
            words = request["arguments"]["plan"].split()
            way = words[min(number, len(words)) - 1]
            self._write("asked", **line, number=number, way=way)
            if WAYS[way].does and not (request["effect"] == "write" and line["key"] in self._done):
                self._write("done", **line, number=number, way=way)
                self._done[line["key"]] = {"what": request["case"]}
        return WAYS[way], number

    def find(self, key: str) -> dict[str, Any] | None:
        """The receipt of what was done with `key`."""
        with self._lock:
            self._write("looked", key=key)
            return self._done.get(key)

    def end(self, pid: int, case: str) -> None:
        """The process that asks dies while it waits for the answer."""
        with self._lock:
            self._write("killed", case=case, pid=pid)
        os.kill(pid, signal.SIGKILL)

    def _write(self, event: str, **more: Any) -> None:
        os.write(self._file, (json.dumps({"event": event, "at": time.time(), **more}) + "\n").encode())
        os.fsync(self._file)


class Handler(BaseHTTPRequestHandler):
    """POST /: do it. GET /KEY: what became of it."""

    book: Book

    def do_POST(self) -> None:
        """Do it, or not, and answer as the case says."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        way, number = self.book.ask(request)
        if request["dies"] and number == 1:
            self.book.end(request["dies"], request["case"])
        elif way.answer != "nothing":
            time.sleep(way.wait)
            self._answer(way, {"what": request["case"]})

    def do_GET(self) -> None:
        """What became of a key."""
        self._send(200, json.dumps(self.book.find(self.path[1:])), {})

    def _answer(self, way: Way, receipt: dict[str, Any]) -> None:
        bodies = {"receipt": receipt, "misfit": {"what": 7}}
        body = json.dumps(bodies.get(way.answer, {"says": way.answer}))
        if way.answer == "page":
            body = "<html>All is well</html>"
        headers = {"Retry-After": way.retry_after} if way.retry_after else {}
        if way.answer == "hang":  # it begins to answer and never ends: whoever waits gives up
            self._send(200, "", {"Hangs": "yes", "Content-Length": "9"})
            self.rfile.read(1)
            return
        self._send(way.status, body, headers | {"Content-Length": str(len(body))})

    def _send(self, status: int, body: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Nothing: the file says it all."""


class Server(ThreadingTCPServer):
    """A thread for each request, on loopback alone."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *args: object) -> None:
        """Whoever asked is gone."""


def main() -> None:
    """Serve until whoever started it is gone."""
    Handler.book = Book(Path(sys.argv[1]))
    with Server(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main()
