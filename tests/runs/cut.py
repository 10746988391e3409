"""A wire to PostgreSQL that can be cut at the worst moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: How a statement of the checkpoint begins, and how the server says that one is committed.
STATEMENT, ANSWER = b"WITH fence AS", b"SELECT 1\0"


class Wire:
    """Forwards a unix socket to the server's; `cut` arms it for the next checkpoint.

    "after": the server has committed, its answer is lost. "before": the statement never arrives.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / server.name))
        self._listener.listen()
        self._server = server
        self._armed = ""
        self.cuts = 0
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def cut(self, moment: str) -> None:
        """Cut once, at that moment of the next checkpoint."""
        self._armed = moment

    def close(self) -> None:
        """No more connections; those that are open end with their client."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _begin(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server))
            back = threading.Thread(target=self._pump, args=(server, client, "after", ANSWER), daemon=True)
            back.start()
            self._pump(client, server, "before", STATEMENT)
            back.join(5)

    def _pump(self, source: socket.socket, target: socket.socket, moment: str, mark: bytes) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._armed == moment and mark in data:
                    self._armed = ""
                    self.cuts += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
