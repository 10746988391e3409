"""`manage.py up`, as a person types it: real processes in a data folder of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.launch.processes import PROJECT, wait_until
from tests.ops.test_processes import gone

pytestmark = [
    pytest.mark.processes,
    # The launcher brings its own database: once is enough.
    pytest.mark.sqlite,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]
SECONDS = 120
READY = "Holdpoint is ready: http"


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(folder: Path, **more: str) -> dict[str, str]:
    left_out = ("DATABASE_URL", "REDIS_URL", "HOLDPOINT_TEST_DATA", "HOLDPOINT_DATABASE_POOL")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "DJANGO_SETTINGS_MODULE": "config.settings", "HOLDPOINT_DATA": str(folder), **more}


def line(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", "up", *arguments]


def refused(folder: Path, *arguments: str, **more: str) -> str:
    """Runs a start that must fail; its one line."""
    done = subprocess.run(
        line(*arguments),
        cwd=PROJECT,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr.strip()


def hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def launched(folder: Path, port: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running launcher that said it is ready; killed at the end if it still lives."""
    before = said(folder).count(READY)
    with (
        (folder.parent / "up.out").open("ab") as output,
        subprocess.Popen(
            line("--port", str(port), *arguments),
            cwd=PROJECT,
            env=environment(folder),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            # A shell that runs the tests in the background has told them to ignore Ctrl-C.
            preexec_fn=hear_ctrl_c,
        ) as launcher,
    ):
        try:
            wait_until(lambda: said(folder).count(READY) > before or launcher.poll() is not None, SECONDS)
            assert healthy(port), said(folder)
            yield launcher
        finally:
            launcher.kill()


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return json.load(answer) == {"ready": True, "missing": []}
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, children) for found in (child, *descendants(child))]


def said(folder: Path) -> str:
    output = folder.parent / "up.out"
    return output.read_text() if output.exists() else ""


def test_it_starts_survives_its_own_death_and_goes_on(tmp_path: Path, port: int) -> None:
    folder = tmp_path / "data"
    with launched(folder, port) as first:
        sign_ins = [text for text in said(folder).splitlines() if "sign in as" in text]
        assert [text.split()[0] for text in sign_ins] == ["reviewer", "reviewer", "operator", "auditor"]
        # Broker, web, worker, tools worker and its child, clock.
        assert wait_until(lambda: len(descendants(first.pid)) >= 6, SECONDS)
        family = descendants(first.pid)
        assert "already runs in" in refused(folder, "--port", str(port))
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert all(gone(pid) for pid in family)
    with launched(folder, port) as second:
        again = [text for text in said(folder).splitlines() if "sign in as" in text]
        assert again == sign_ins * 2
        family = descendants(second.pid)
        second.send_signal(signal.SIGINT)
        assert second.wait(30) == 0
        assert all(gone(pid) for pid in family)
    assert "Traceback" not in said(folder)


class TestBadInput:
    def test_a_taken_port(self, tmp_path: Path) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            assert f"Port {port} is taken by another program" in refused(tmp_path, "--port", str(port))
        assert not (tmp_path / "holdpoint.sqlite3").exists()

    def test_a_data_folder_that_cannot_be_made(self, tmp_path: Path, port: int) -> None:
        (tmp_path / "file").touch()
        assert "set HOLDPOINT_DATA" in refused(tmp_path / "file" / "data", "--port", str(port))

    def test_a_broker_that_does_not_answer(self, tmp_path: Path, port: int) -> None:
        url = f"redis://:secret@127.0.0.1:{port}/0"
        done = subprocess.run(
            line("--port", str(port)),
            cwd=PROJECT,
            env=environment(tmp_path, REDIS_URL=url),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "named by REDIS_URL does not answer" in done.stderr.splitlines()[-1]
        assert "secret" not in done.stderr

    def test_fresh_spares_a_database_of_the_users_own(self, tmp_path: Path, port: int) -> None:
        url = f"sqlite:///{tmp_path}/own.sqlite3"
        line = refused(tmp_path, "--fresh", "--yes", "--port", str(port), DATABASE_URL=url)
        assert "empties the embedded database alone" in line

    def test_fresh_wants_an_answer(self, tmp_path: Path, port: int) -> None:
        (tmp_path / "holdpoint.sqlite3").write_text("precious")
        assert "add --yes" in refused(tmp_path, "--fresh", "--port", str(port))
        assert (tmp_path / "holdpoint.sqlite3").read_text() == "precious"

    def test_a_damaged_database(self, tmp_path: Path, port: int) -> None:
        (tmp_path / "holdpoint.sqlite3").write_text("this is no database" * 100)
        done = subprocess.run(
            line("--port", str(port)), cwd=PROJECT, env=environment(tmp_path), capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "file is not a database" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("port", ["0", "65536", "web"])
    def test_no_port(self, tmp_path: Path, port: str) -> None:
        done = subprocess.run(
            line("--port", port), cwd=PROJECT, env=environment(tmp_path), capture_output=True, text=True
        )
        assert done.returncode == 2
        assert f"{port} is no port: choose a number from 1 to 65535" in done.stderr
