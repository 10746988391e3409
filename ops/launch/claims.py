"""What only one launcher may hold: a data folder and a port."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Taken(Exception):
    """Somebody else holds it; the message says who, and what to do."""


@contextmanager
def data_folder(folder: Path, address: str) -> Iterator[None]:
    """Holds a data folder for as long as the block runs; the kernel lets go of it when we die."""
    with (folder / "up.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken(
                f"Holdpoint already runs in {folder} ({_holder(file.name)}): "
                "end it there with Ctrl-C, or set HOLDPOINT_DATA to another folder."
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "address": address}))
        file.flush()
        yield


def _holder(path: str) -> str:
    try:
        holder = json.loads(Path(path).read_text(encoding="utf-8"))
        return f"process {holder['pid']}, {holder['address']}"
    except (ValueError, KeyError, OSError):
        return "another process"


def free_port(port: int, patience: float = 2) -> None:
    """Returns when a loopback port is free; a server that was just killed gets `patience` seconds to go."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
                return
        except OSError as error:
            if error.errno == errno.EACCES:
                raise Taken(f"Port {port} is kept for root: choose one above 1023 with --port.") from None
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise Taken(
                    f"Port {port} is taken by another program: end that program, or choose another port "
                    f"with --port {port + 1 if port < 65535 else 8000}."
                ) from None
        time.sleep(0.1)
