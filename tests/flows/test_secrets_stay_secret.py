"""What tools do with their secrets shows nowhere: looked for wherever real workers leave something."""

from __future__ import annotations

import base64
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from ops.launch.broker import Broker
from runs import services
from runs.models import Run, Step
from tests.flows.conftest import ALL_QUEUES, Crew, Stage, assert_whole, state_of
from tests.flows.story import Until
from tools import registry
from tools.models import ToolCall

with registry.scratch():
    from tests.flows.canary import tools, workflows  # noqa: F401

pytestmark = pytest.mark.processes
CANARIES = ("canary/7f3a+one b", "canary-two-91c4e")
MARKER = "marker-5d2e"


def forms(value: str) -> set[str]:
    """How it may be written."""
    raw = value.encode()
    packed = base64.b64encode(raw).decode().rstrip("=")
    return {value, quote(value), quote(value, safe=""), quote_plus(value), packed, raw.hex()}


WRITTEN = {form for value in CANARIES for form in forms(value)} | {
    base64.b64encode(f"shop:{CANARIES[0]}".encode()).decode().rstrip("=")
}


def hits(text: str) -> list[str]:
    return [form for form in WRITTEN if form in text]


class OtherSystem(http.server.BaseHTTPRequestHandler):
    """Says back what it was told, and keeps it."""

    told: list[str] = []

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        said = f"{self.path} {self.headers.get('Authorization')} {body}"
        self.told.append(said)
        self.send_response(403 if self.path.startswith("/refuse") else 200)
        self.send_header("X-Echo", said)
        self.send_header("Content-Length", str(len(said.encode())))
        self.end_headers()
        self.wfile.write(said.encode())

    do_GET = do_POST = answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def other() -> Iterator[int]:
    OtherSystem.told.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherSystem)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.fixture
def overheard(broker: Broker) -> Iterator[Callable[[], str]]:
    """Every command that reached the broker, as text, since the test began."""
    place = broker.url.removeprefix("redis+socket://").partition("?")[0]
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(place)
        line.sendall(b"MONITOR\r\n")
        heard.append(line.recv(5))
        assert heard == [b"+OK\r\n"]
        threading.Thread(target=_listen, args=(line, heard), daemon=True).start()
        yield lambda: b"".join(heard).decode("latin-1")
        line.shutdown(socket.SHUT_RDWR)


def _listen(line: socket.socket, heard: list[bytes]) -> None:
    while part := line.recv(65536):
        heard.append(part)


@pytest.fixture
def leaky(story_env: dict[str, str], other: int, tmp_path: Path) -> dict[str, str]:
    """The input of a run; its workers have the app and one of the secrets."""
    pin = tmp_path / "pin"
    pin.write_text(CANARIES[1] + "\n")
    story_env |= {
        "HOLDPOINT_APPS": "tests.flows.promises,tests.flows.canary",
        "HOLDPOINT_PRIVATE_HOSTS": f"localhost:{other}",
        "CANARY_PIN_FILE": str(pin),
    }
    return {"marker": MARKER, "base": f"http://localhost:{other}"}


def database() -> str:
    """Every row of every table."""
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            for row in cursor.fetchall():
                texts += [_as_text(value) for value in row]
    return "\n".join(texts)


def _as_text(value: Any) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)


def screens(run: Run) -> dict[str, str]:
    """Every page and answer of the API that shows something of the run, as an administrator sees it."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    steps, calls = Step.objects.filter(run=run), ToolCall.objects.filter(run_id=run.id)
    paths = ["/", "/queue/", "/runs/", "/unknown/", f"/runs/{run.id}/"]
    paths += [f"/api/v1/runs/{run.id}{part}" for part in ("", "/steps", "/journal", "/artifacts")]
    paths += [f"/api/v1/runs/{run.id}/steps/{step.id}" for step in steps] + ["/api/v1/calls"]
    paths += [f"/runs/{run.id}/artifacts/{one.id}/" for one in run.artifacts.all()]
    for app, model, rows in (("runs", "run", [run]), ("runs", "step", steps), ("tools", "toolcall", calls)):
        paths += [f"/admin/{app}/{model}/"]
        paths += [f"/admin/{app}/{model}/{row.pk}/{end}" for row in rows for end in ("change/", "history/")]
    found = {}
    for path in paths:
        answer = client.get(path, follow=True)
        found[path] = answer.content.decode() if answer.status_code == 200 else f"{answer.status_code}"
    return found


def test_no_secret_shows_anywhere(
    leaky: dict[str, str],
    crew: Crew,
    stage: Stage,
    until: Until,
    overheard: Callable[[], str],
    tmp_path: Path,
) -> None:
    crew.start(1, queues=ALL_QUEUES, CANARY_KEY=CANARIES[0])
    crew.start(1, queues=("vault",))
    run = services.start_run("canary.sing", leaky, actor="user:ana")
    until(lambda: state_of(run) not in ("queued", "running", "waiting"), 60)
    run = assert_whole(run)
    assert run.state == "needs_attention", run.outcome
    kinds = set(run.journal.values_list("kind", flat=True))
    assert {"call.succeeded", "call.failed", "step.failed", "call.not_found_out"} <= kinds
    said = " ".join(OtherSystem.told)
    assert CANARIES[0] in said, "the secret was used"

    logs = "\n".join(log.read_text(errors="replace") for log in (tmp_path / "logs").glob("*.log"))
    assert "x-echo" in logs.lower(), "the client told its log what came back"
    pages = screens(run)
    assert {path: text for path, text in pages.items() if text.isdecimal()} == {}
    places = {"database": database(), "logs": logs, "pages": "\n".join(pages.values())}
    # The controls: what is no secret and stood right beside each is found.
    assert {name: MARKER in text for name, text in places.items()} == dict.fromkeys(places, True)
    assert run.id in overheard(), "the broker was listened to"
    places["broker"] = overheard()
    assert {name: hits(text) for name, text in places.items()} == dict.fromkeys(places, [])

    masked = {name: text.count("[secret ") for name, text in places.items()}
    assert masked["database"] and masked["logs"] and masked["pages"]
