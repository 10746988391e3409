"""The other side: an HTTP(S) server in a process of its own, which writes down every connection and request.

Run as a program: ``other_side.py LOG [CERTIFICATE KEY]``; it prints its port and serves until it is killed.
"""

from __future__ import annotations

import gzip
import http.server
import json
import os
import ssl
import sys
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

LOG = sys.argv[1]
BODIES = {
    "nan": b'{"amount": NaN}',
    "twice": b'{"id": 1, "id": 2}',
    "page": b"<html>busy</html>",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "notutf8": b'{"name": "\xff"}',
    "empty": b"",
}


def note(**line: Any) -> None:
    """One line, appended at once."""
    file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        note(what="connection")
        super().setup()

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
        headers = {name.lower(): value for name, value in self.headers.items()}
        note(what="request", method=self.command, path=self.path, headers=headers, body=body)
        name, *rest = [part for part in url.path.split("/") if part] or ["ok"]
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        getattr(self, f"do_{name}", self.do_ok)(*rest, **asked)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def give(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_ok(self, *_: str, **__: str) -> None:
        self.give(b'{"ok": true}', Content_Type="application/json")

    def do_status(self, code: str, retry_after: str = "") -> None:
        self.give(b'{"error": "no"}', int(code), **({"Retry-After": retry_after} if retry_after else {}))

    def do_moved(self, code: str, to: str = "/ok") -> None:
        self.give(b"", int(code), Location=to)

    def do_around(self, left: str) -> None:
        count = int(left)
        self.give(b"", 302, Location=f"/around/{count - 1}" if count > 1 else "/ok")

    def do_body(self, name: str) -> None:
        self.give(BODIES[name])

    def do_big(self, size: str, packed: str = "") -> None:
        body = b"0" * int(size)
        self.give(gzip.compress(body), Content_Encoding="gzip") if packed else self.give(body)

    def do_packed(self, how: str) -> None:
        body = gzip.compress(b'{"ok": true}')
        made = {"well": body, "cut": body[:-12], "two": body * 2, "not": b"plain"}[how]
        self.give(made, Content_Encoding="gzip")

    def do_unasked(self) -> None:
        self.give(b"x", Content_Encoding="br")

    def do_chunks(self, size: str) -> None:
        """A large body whose length nobody says."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(int(size) // 1000):
            self.wfile.write(b"3e8\r\n" + b"0" * 1000 + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def do_drop(self) -> None:
        """It happened, and the line goes dead before anybody says so."""
        self.close_connection = True

    def do_cut(self) -> None:
        """A part of the answer."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"ok":')
        self.close_connection = True

    def do_silent(self) -> None:
        """No answer until the other one gives up."""
        self.close_connection = True
        self.rfile.read(1)

    def do_drip(self, where: str) -> None:
        """An answer that takes long and never pauses for long."""
        self.close_connection = True
        start, end = {
            "headers": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"\r\nContent-Length: 0\r\n\r\n"),
            "body": (b"HTTP/1.1 200 OK\r\n\r\n", b""),
        }[where]
        self.wfile.write(start)
        for _ in range(250):
            self.wfile.write(b"x")
            time.sleep(0.02)
        self.wfile.write(end)

    def do_garbage(self) -> None:
        self.wfile.write(b"\x00\xff no protocol at all\r\n\r\n")
        self.close_connection = True


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)  # noqa: T201 - to whoever started it
    # Ends with whoever started it.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
