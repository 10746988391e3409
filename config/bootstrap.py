"""Makes the project's own environment, with the standard library alone, and goes on inside it.

The environment is `.venv` in the project. A small file in it says which locks it was built from; while that
file says "building", or is missing from an environment that we began, nothing there is used.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

try:
    import fcntl
except ImportError:  # Windows has no such lock; two builds at once are then the user's to avoid.
    fcntl = None  # type: ignore[assignment]

LOCKS = {"run": "requirements.txt", "test": "tests/requirements.txt"}
RECORD = "holdpoint.json"
OS_RELEASE = Path("/etc/os-release")


class CannotBuild(Exception):
    """The environment cannot be built; the message says why and what to type."""


def run(argv: Sequence[str], root: str) -> None:
    """Completes the environment, goes on there, and runs the command; ends with one line when it cannot."""
    try:
        if sys.prefix == sys.base_prefix:
            enter(Path(root), test=argv[1:2] == ["test"], argv=argv)
        elif find_spec("django") is None:
            lines = " -r ".join(LOCKS.values())
            raise CannotBuild(
                f"The active environment {sys.prefix} lacks Holdpoint's packages: "
                f"type python -m pip install -r {lines}, or deactivate it and start again."
            )
    except CannotBuild as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    command(argv)


def command(argv: Sequence[str]) -> None:
    """Runs Django's command; a wrong setting ends with one line instead of a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(list(argv))
    except ImproperlyConfigured as error:
        sys.exit(str(error))


def enter(root: Path, *, test: bool, argv: Sequence[str]) -> NoReturn:
    """Replaces this process by the same command in the project's environment, built if need be."""
    folder = root / ".venv"
    wanted = wanted_locks(root, test=test)
    if not is_complete(folder, wanted):
        try:
            with locked(root / ".venv.lock"):
                if not is_complete(folder, wanted):
                    build(folder, root, wanted)
        except OSError as error:
            raise CannotBuild(
                f"The environment {folder} cannot be built ({error.strerror or error}): make the project "
                "folder writable, or activate an environment of your own that holds requirements.txt."
            ) from None
    os.environ.pop("__PYVENV_LAUNCHER__", None)
    sys.stdout.flush()
    os.execv(interpreter(folder), [str(interpreter(folder)), *argv])


def wanted_locks(root: Path, *, test: bool) -> dict[str, str]:
    """The digest of each lock that the command needs."""
    names = ("run", "test") if test else ("run",)
    return {name: hashlib.sha256((root / LOCKS[name]).read_bytes()).hexdigest() for name in names}


def interpreter(folder: Path) -> Path:
    """The Python inside an environment."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def record_of(folder: Path) -> dict[str, str]:
    """What the environment says about itself; empty for one that we did not make."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return {"state": "building"}
    return record if isinstance(record, dict) else {"state": "building"}


def is_complete(folder: Path, wanted: dict[str, str]) -> bool:
    """Whether the environment was finished from exactly the wanted locks, and its Python still starts."""
    record = record_of(folder)
    return (
        record.get("state") == "complete"
        and wanted.items() <= record.items()
        and os.access(interpreter(folder), os.X_OK)
    )


def write_record(folder: Path, record: dict[str, str]) -> None:
    draft = folder / f".{RECORD}.{os.getpid()}"
    draft.write_text(json.dumps(record), encoding="utf-8")
    draft.replace(folder / RECORD)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lets one process build at a time; the others wait and say so."""
    with path.open("w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Waiting for another process that builds the environment …")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(folder: Path, root: Path, wanted: dict[str, str]) -> None:
    """Makes the environment, or brings a finished one up to the locks; records it only when all is in."""
    began = time.monotonic()
    before = record_of(folder)
    usable = os.access(interpreter(folder), os.X_OK) and before.get("state") != "building"
    if not usable:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    write_record(folder, {"state": "building"})
    uv = shutil.which("uv")
    if not usable:
        say(f"Making the environment {folder} …")
        create(folder, with_pip=uv is None)
    installed = dict(wanted)
    # Test packages that are there and still right stay on record.
    if before.get("test") == wanted_locks(root, test=True)["test"]:
        installed["test"] = before["test"]
    install(folder, [root / LOCKS[name] for name in wanted], uv)
    write_record(folder, {"state": "complete", **installed})
    say(f"The environment is ready after {time.monotonic() - began:.0f} s.")


def create(folder: Path, *, with_pip: bool) -> None:
    """Makes an empty environment with the standard library's venv."""
    if with_pip and find_spec("ensurepip") is None:
        supply_ensurepip()
    arguments = [] if with_pip else ["--without-pip"]
    watched([sys.executable, "-m", "venv", *arguments, str(folder)], folder, "Making the environment")


def supply_ensurepip() -> None:
    """Installs Debian's package for it as root; otherwise tells the exact line to type."""
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    debian = is_debian()
    if debian and hasattr(os, "geteuid") and os.geteuid() == 0:
        say(f"Installing {package}, which Debian keeps apart from Python …")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for line in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", package]):
            if subprocess.run([*line, "-qq"], env=environment, stdout=subprocess.DEVNULL).returncode:
                raise CannotBuild(f"{' '.join(line)} failed: install {package} yourself, then start again.")
        return
    cure = f"type sudo apt-get install {package}" if debian else "install its ensurepip module, or uv"
    raise CannotBuild(f"This Python has no pip for a new environment: {cure}, then start again.")


def is_debian(release: Path = OS_RELEASE) -> bool:
    """Whether the system is Debian or made from it."""
    try:
        lines = release.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    families = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return "debian" in families and shutil.which("apt-get") is not None


def install(folder: Path, locks: Sequence[Path], uv: str | None) -> None:
    """Installs the locked packages, with uv where it is there, else with pip."""
    python = str(interpreter(folder))
    if uv:
        line = [uv, "pip", "install", "--no-python-downloads", "--python", python]
    else:
        line = [
            python,
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar",
            "off",
        ]
    for lock in locks:
        line += ["-r", str(lock)]
    count = sum(1 for lock in locks for text in lock.read_text(encoding="utf-8").splitlines() if text.strip())
    say(f"Installing {count} packages with {'uv' if uv else 'pip'} …")
    watched(line, folder, f"Installing {count} packages")


def watched(line: Sequence[str], folder: Path, doing: str) -> None:
    """Runs a child with its output in a file; says every few seconds that it still works."""
    log = folder / "build.log"
    began = said = time.monotonic()
    with log.open("ab") as output:
        child = subprocess.Popen(line, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            while child.poll() is None:
                time.sleep(0.1)
                if time.monotonic() - said >= 3:
                    said = time.monotonic()
                    say(f"  {doing}: {said - began:.0f} s, {last_line(log)[:70]}")
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    if child.returncode:
        # The record still says "building": the next start begins from nothing, and the log must outlive that.
        kept = folder.with_name(".venv-build.log")
        shutil.copyfile(log, kept)
        raise CannotBuild(
            f"{doing} failed: {last_line(log, 'error')} (all of it is in {kept}). Start again once cured."
        )


def last_line(log: Path, word: str = "") -> str:
    """The last line of a log that holds a word, or simply the last one; at most 200 characters."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    matching = [line for line in lines if word in line.lower()] or lines or ["begun"]
    return matching[-1][:200]


def say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()
