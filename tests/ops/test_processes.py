"""Child processes: nothing outlives the one that started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ops.launch import claims
from ops.launch.processes import LEASH, PROJECT, ChildProcess, NotReady, wait_until
from ops.launch.supervisor import PATIENCE, REPLACE_ME, STEADY, GaveUp, Supervisor, Watched
from ops.launch.workers import BeatProcess, WebProcess, WorkerProcess
from runs.crew.life import REPLACED

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
#: Has a child of its own, in the same group, and tells its pid.
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)",
]
#: Starts a child in the log named first, prints its pid, and waits.
LAUNCHER = """
import sys, time
from pathlib import Path
from ops.launch.processes import ChildProcess
sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
child = ChildProcess("sleeper", sleeper, log=Path(sys.argv[1])).start()
print(child.pid, flush=True)
time.sleep(60)
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    return wait_until(lambda: not lives(pid), 5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
class TestChildProcess:
    def test_ends_when_its_launcher_is_killed(self, tmp_path: Path) -> None:
        line = [sys.executable, "-c", LAUNCHER, str(tmp_path / "log")]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as launcher:
            assert launcher.stdout is not None
            pid = int(launcher.stdout.readline())
            assert lives(pid)
            launcher.kill()
        assert gone(pid)

    def test_ends_with_its_launcher_where_the_kernel_does_not_help(self, tmp_path: Path) -> None:
        elsewhere = (
            f"import sys; sys.platform = 'darwin'; sys.path.insert(0, {str(LEASH.parent)!r}); import leash; "
        )
        program = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
        watcher = elsewhere + f"leash.main([str(os.getppid()), '9', '0', '--', *{program!r}])"
        launcher_line = (
            "import subprocess, sys, time; "
            f"subprocess.Popen([sys.executable, '-c', 'import os; ' + {watcher!r}], process_group=0); "
            "time.sleep(60)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", launcher_line], stdout=subprocess.PIPE, text=True
        ) as launcher:
            assert launcher.stdout is not None
            pid = int(launcher.stdout.readline())
            assert lives(pid)
            launcher.kill()
            assert gone(pid)

    def test_takes_its_group_along(self, tmp_path: Path) -> None:
        child = ChildProcess("parent", PARENT, log=tmp_path / "log").start()
        assert wait_until(lambda: bool(child.last_words()), 10)
        grandchild = int(child.last_words())
        child.kill()
        assert child.exit_code == -signal.SIGKILL
        assert gone(grandchild)

    def test_is_asked_first_and_killed_later(self, tmp_path: Path) -> None:
        ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        deaf = [sys.executable, "-c", ignore + "print('on', flush=True); time.sleep(60)"]
        child = ChildProcess("deaf", deaf, log=tmp_path / "log").start()
        assert wait_until(lambda: "on" in child.last_words(), 10)
        child.stop(grace=0.3)
        assert child.exit_code == -signal.SIGKILL
        polite = ChildProcess("polite", SLEEPER, log=tmp_path / "log").start()
        polite.stop()
        assert polite.exit_code == -signal.SIGTERM

    def test_that_ends_early_is_reported_with_its_last_words(self, tmp_path: Path) -> None:
        child = ChildProcess(
            "broken", [sys.executable, "-c", "raise SystemExit('no luck')"], log=tmp_path / "log"
        )
        child.ready = lambda: False  # type: ignore[method-assign]
        with pytest.raises(NotReady, match=r"broken ended with code 1(.|\n)*no luck"):
            child.start().wait_ready()

    def test_runs_as_another_user(self, tmp_path: Path) -> None:
        if os.getuid() != 0:
            pytest.skip("only root may become another user")
        child = ChildProcess("id", ["id", "-u"], log=tmp_path / "log", user=65534, folder=Path("/")).start()
        assert wait_until(lambda: not child.alive(), 10)
        assert child.last_words() == "65534"


class TestSupervisor:
    def test_starts_again_what_ended_and_ends_all(self, tmp_path: Path) -> None:
        said: list[str] = []
        child = ChildProcess("sleeper", SLEEPER, log=tmp_path / "log")
        with Supervisor(said.append).running() as supervisor:
            supervisor.start(child)
            first = child.pid
            child.send(signal.SIGKILL)
            supervisor.watch(until=lambda: child.pid != first and child.alive(), pause=0.02)
            assert said[0].startswith("sleeper ended with code -9, starts again in 0.5 s")
        assert not child.alive()

    def test_waits_longer_each_time_and_forgets_after_a_steady_life(self) -> None:
        watched = Watched(ChildProcess("x", ["x"], log=Path("x")), started=0)
        pauses = [watched.note_death(1) for _ in range(PATIENCE)]
        assert pauses == [0.5, 1, 2, 4, 8, 15]
        watched.note_start(10)
        assert watched.note_death(11 + STEADY) == 0.5

    def test_gives_up_with_last_words(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ops.launch.supervisor.SLOWEST", 0.0)
        child = ChildProcess(
            "broken", [sys.executable, "-c", "raise SystemExit('no luck')"], log=tmp_path / "log"
        )
        with pytest.raises(GaveUp, match=r"broken ended 6 times(.|\n)*no luck"):  # noqa: SIM117
            with Supervisor(lambda sentence: None).running() as supervisor:
                supervisor.start(child)
                supervisor.watch(pause=0.01)

    def test_a_worker_that_asks_to_be_replaced_is_replaced_as_often_as_it_asks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ops.launch.supervisor.SLOWEST", 0.0)
        said: list[str] = []
        replaced = [sys.executable, "-c", f"raise SystemExit({REPLACED})"]
        child = ChildProcess("worker", replaced, log=tmp_path / "log")
        with Supervisor(said.append).running() as supervisor:
            supervisor.start(child)
            supervisor.watch(until=lambda: len(said) > PATIENCE + 1, pause=0.01)
        assert REPLACED == REPLACE_ME
        assert all("ended with code 75, starts again" in sentence for sentence in said)

    def test_term_ends_it_like_ctrl_c(self, tmp_path: Path) -> None:
        child = ChildProcess("sleeper", SLEEPER, log=tmp_path / "log")
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
            with Supervisor(lambda sentence: None).running() as supervisor:
                supervisor.start(child)
                signal.raise_signal(signal.SIGTERM)
        assert not child.alive()
        assert signal.getsignal(signal.SIGTERM) is before


class TestClaims:
    def test_a_data_folder_is_held_once(self, tmp_path: Path) -> None:
        with (
            claims.data_folder(tmp_path, "http://here/"),
            pytest.raises(
                claims.Taken, match=rf"already runs in {tmp_path} \(process {os.getpid()}, http://here/\)"
            ),
            claims.data_folder(tmp_path, "http://there/"),
        ):
            pass
        with claims.data_folder(tmp_path, "http://there/"):
            pass

    def test_a_taken_port_names_another(self) -> None:
        with claims.socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            with pytest.raises(claims.Taken, match=f"Port {port} is taken .*--port {port + 1}"):
                claims.free_port(port, patience=0)
        claims.free_port(port)


def test_what_is_started_keeps_compiled_code_although_its_launcher_does_not(tmp_path: Path) -> None:
    env = {"HOLDPOINT_DATA": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C"}
    started = (WorkerProcess(env, ["runs"], 1), BeatProcess(env), WebProcess(env, 1))
    assert [process.env.get("PYTHONDONTWRITEBYTECODE") for process in started] == [None] * 3
    assert {process.env["LANG"] for process in started} == {"C"}
