"""A private PostgreSQL cluster, made, started and stopped from the server's own programs."""

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from ops.launch.processes import ChildProcess

INSTALLED = Path("/usr/lib/postgresql")
OWNER = "holdpoint"


class NoPostgres(Exception):
    """The server's programs are not here, or could not make a cluster; the message names the cure."""


def find_programs(installed: Path = INSTALLED) -> Path | None:
    """The folder of the newest PostgreSQL server on this machine, or None."""
    folders = [path.parent for path in installed.glob("*/bin/initdb") if (path.parent / "postgres").exists()]
    on_path = shutil.which("initdb")
    if folders:
        return max(folders, key=lambda path: [int(number) for number in re.findall(r"\d+", path.parent.name)])
    return Path(on_path).resolve().parent if on_path else None


def unprivileged_user() -> int:
    """The user that runs the server: ourselves, or nobody when we are root, which PostgreSQL refuses."""
    return pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else 0


class PostgresCluster(ChildProcess):
    """A cluster in a folder of its own, on a unix socket and a loopback port with a random password.

    Without `folder` it lives in a temporary one, which is removed at the end. `durable=False` leaves out
    fsync: fast, and lost with the machine, not with the process. Attributes: `socket_folder`, `port`,
    `password`.
    """

    def __init__(self, folder: Path | None = None, *, durable: bool = False, connections: int = 200) -> None:
        programs = find_programs()
        if programs is None:
            raise NoPostgres("PostgreSQL's server is not installed: type apt-get install postgresql.")
        self._programs = programs
        self._temporary = folder is None
        self._folder = Path(tempfile.mkdtemp(prefix="hp-pg-")) if folder is None else folder.absolute()
        self._durable = durable
        self.socket_folder = self._folder / "s"
        self.port = _free_port()
        self.password = secrets.token_hex(16)
        super().__init__(
            "postgres",
            self._command(connections),
            log=self._folder / "postgres.log",
            folder=Path("/"),
            user=unprivileged_user(),
            death_signal=signal.SIGQUIT,  # immediate shutdown: nobody is left to wait for a slower one
            stop_signal=signal.SIGINT,  # fast shutdown: open sessions are cut
        )

    def _command(self, connections: int) -> list[str]:
        values = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.socket_folder,
            "unix_socket_permissions": "0700",
            "max_connections": connections,
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "fsync": "on" if self._durable else "off",
            "full_page_writes": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
        }
        options = [text for name, value in values.items() for text in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options]

    def start(self) -> Self:
        """Makes the cluster at the first start, then runs it."""
        if not (self._folder / "data" / "PG_VERSION").exists():
            self._make()
        super().start()
        return self

    def _make(self) -> None:
        self.socket_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = self._folder / "password"
        secret.write_text(self.password, encoding="ascii")
        secret.chmod(0o600)
        if self.user:
            for path in (self._folder, self.socket_folder, secret):
                os.chown(path, self.user, -1)
        line = [str(self._programs / "initdb"), "-D", str(self._folder / "data"), "-U", OWNER, "-E", "UTF8"]
        line += ["--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        made = subprocess.run(
            line if self._durable else [*line, "--no-sync"],
            cwd="/",
            capture_output=True,
            text=True,
            user=self.user or None,
            extra_groups=() if self.user else None,
        )
        if made.returncode:
            raise NoPostgres(f"initdb in {self._folder} failed: {made.stderr.strip()[-400:]}")

    def ready(self) -> bool:
        """Whether it takes connections."""
        if not self.alive():
            return False
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def url(self, name: str) -> str:
        """DATABASE_URL of a database in this cluster, over the unix socket."""
        place = urlencode({"host": self.socket_folder, "port": self.port})
        return f"postgresql://{OWNER}@/{quote(name)}?{place}"

    def tcp_url(self, name: str) -> str:
        """The same over the loopback port, with the password: for a proxy in between."""
        return f"postgresql://{OWNER}:{self.password}@127.0.0.1:{self.port}/{quote(name)}"

    def create_database(self, name: str) -> str:
        """Makes an empty database and returns its DATABASE_URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Removes a database with everything connected to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )

    def stop(self, grace: float = 10) -> None:
        """Stops it; a temporary cluster is removed with everything in it."""
        super().stop(grace)
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
