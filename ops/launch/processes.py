"""Child processes with a group and a log of their own, that end with the process which started them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PROJECT = Path(__file__).resolve().parents[2]
LEASH = Path(__file__).with_name("leash.py")
LOG_LIMIT = 10 * 1024 * 1024


class NotReady(Exception):
    """A process ended, or took too long, before it was ready; the message ends with its last words."""


def wait_until(ready: Callable[[], bool], timeout: float, pause: float = 0.05) -> bool:
    """Asks again and again, for at most `timeout` seconds, whether something is ready."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(pause)
    return ready()


class ChildProcess:
    """One program, started in its own process group with its output appended to a log file.

    It is killed when the *thread* that called start() ends, as Linux counts it: start it from a thread that
    lives as long as it should. With `user` (a numeric id, root only) the program gives up root first.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        folder: Path = PROJECT,
        user: int = 0,
        death_signal: signal.Signals = signal.SIGKILL,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = dict(os.environ if env is None else env)
        self.folder = folder
        self.user = user
        self.death_signal = death_signal
        self.stop_signal = stop_signal
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts the program; it may be called again after it ended."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".old.log"))
        # Found here, because another user may not look into every folder of our PATH.
        program = shutil.which(self.command[0]) or self.command[0]
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(self.death_signal))]
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                [*leash, str(self.user), "--", program, *self.command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.env,
                cwd=self.folder,
                process_group=0,
            )
        return self

    @property
    def pid(self) -> int:
        """The process id, also that of its group; 0 before the first start."""
        return self._child.pid if self._child else 0

    @property
    def exit_code(self) -> int | None:
        """None while it runs or before it was started; negative for the signal that ended it."""
        return self._child.poll() if self._child else None

    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def ready(self) -> bool:
        """Whether it can do its work; a plain program is ready as soon as it runs."""
        return self.alive()

    def wait_ready(self, timeout: float = 30) -> Self:
        """Returns once it is ready; raises NotReady when it ends first or after `timeout` seconds."""
        wait_until(lambda: self.ready() or not self.alive(), timeout)
        if not self.alive() or not self.ready():
            why = (
                f"is not ready after {timeout:.0f} s" if self.alive() else f"ended with code {self.exit_code}"
            )
            raise NotReady(f"{self.name} {why}. Last words in {self.log}:\n{self.last_words()}")
        return self

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the program alone, if it still runs."""
        if self._child is not None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """Ends the program and its whole group at once, as a power cut would."""
        self._end_group()
        if self._child is not None:
            self._child.wait()

    def stop(self, grace: float = 10) -> None:
        """Asks the program to end, and kills what is left of its group after `grace` seconds."""
        if self._child is None:
            return
        if self.alive():
            self._child.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(grace)
        self.kill()

    def _end_group(self) -> None:
        if self._child is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        try:
            return self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
