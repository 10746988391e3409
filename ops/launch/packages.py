"""System packages that the tests need, and how they come here."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from ops.launch.broker import NoBroker, find_server
from ops.launch.postgres import find_programs


@dataclass(frozen=True)
class Need:
    """Something from the system; `packages` are Debian's names for it."""

    name: str
    packages: tuple[str, ...]
    present: Callable[[], bool]


def find_chromium() -> str | None:
    """The Chromium that browser tests use."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _broker_is_there() -> bool:
    try:
        return bool(find_server())
    except NoBroker:
        return False


NEEDS = (
    Need("PostgreSQL", ("postgresql",), lambda: find_programs() is not None),
    Need("Redis or Valkey", ("redis-server",), _broker_is_there),
    Need("Chromium", ("chromium", "fonts-dejavu-core"), lambda: find_chromium() is not None),
)


class CannotInstall(Exception):
    """The packages cannot be installed from here; the message is the line to type."""


def missing() -> list[Need]:
    """What this machine lacks."""
    return [need for need in NEEDS if not need.present()]


def install(needs: list[Need], say: Callable[[str], None]) -> None:
    """Installs Debian's packages for the needs, as root. Raises CannotInstall."""
    names = [package for need in needs for package in need.packages]
    line = f"apt-get install --no-install-recommends {' '.join(names)}"
    if shutil.which("apt-get") is None:
        raise CannotInstall(
            f"Install {', '.join(need.name for need in needs)} with your system's package manager."
        )
    if os.getuid() != 0:
        raise CannotInstall(f"Type sudo {line}")
    say(f"Installing {', '.join(names)} …")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ("apt-get update -qq", f"{line} -y -qq"):
        done = subprocess.run(command.split(), env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotInstall(f"{command} failed: {done.stderr.strip()[-300:]}")
