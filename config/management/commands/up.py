"""`manage.py up`: everything that Holdpoint needs on one machine, until Ctrl-C."""

import argparse
import json
import os
import shlex
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command, get_commands, load_command_class
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connection, connections

from ops import health
from ops.demo_people import SignIn, ensure_demo_people
from ops.launch import claims
from ops.launch.broker import Broker, NoBroker
from ops.launch.processes import NotReady
from ops.launch.supervisor import GaveUp, Supervisor
from ops.launch.workers import BeatProcess, WebProcess, WorkerProcess
from runs.crew import workers
from tools.command import PlainCommand

THREADS = 8
TURNS, TOOLS = ["runs", "agents", "caretakers"], ["tools"]  # queues of the two workers
#: Seconds that web, workers and clock together may take to become ready.
PATIENCE = 120


def port_number(text: str) -> int:
    """A port that a program may listen on."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: choose a number from 1 to 65535.")
    return int(text)


class Command(PlainCommand):
    """Starts the broker, prepares the database, loads the demo, and supervises web, workers and clock."""

    help = "Starts Holdpoint on this machine: broker, database, demo, web, workers and clock, until Ctrl-C."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=port_number, default=8000, help="port of the web pages (8000)")
        parser.add_argument("--no-demo", action="store_true", help="load neither the demo nor its people")
        parser.add_argument("--fresh", action="store_true", help="empty the embedded database first")
        parser.add_argument("--yes", action="store_true", help="answer the question of --fresh with yes")

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs until Ctrl-C; every foreseeable failure is one line and exit code 1."""
        address = f"http://127.0.0.1:{options['port']}/"
        try:
            with claims.data_folder(settings.HOLDPOINT_DATA, address):
                claims.free_port(options["port"])
                if options["fresh"]:
                    self._empty_database(sure=options["yes"])
                self._run(options, address)
        except KeyboardInterrupt:
            self._say("Ended.")
        except (claims.Taken, NoBroker, NotReady, GaveUp) as error:
            raise CommandError(str(error)) from None
        except (DatabaseError, OSError) as error:
            raise CommandError(
                f"{' '.join(str(error).split())}: see DATABASE_URL and HOLDPOINT_DATA."
            ) from error

    def _run(self, options: dict[str, Any], address: str) -> None:
        with Supervisor(self._say).running() as supervisor:
            env = {**os.environ, "HOLDPOINT_DATA": str(settings.HOLDPOINT_DATA), "PYTHONUNBUFFERED": "1"}
            env["REDIS_URL"] = self._given_broker() or self._start_broker(supervisor)
            people = self._prepare(demo=not options["no_demo"])
            with self._step("Starting web, workers and clock"):
                for child in self._children(env, options["port"]):
                    supervisor.start(child)
                self._await(supervisor, address + "healthz")
            self._welcome(address, people)
            try:
                supervisor.watch()
            finally:
                self._say("\nEnding web, workers and clock … (Ctrl-C again: at once)")

    def _given_broker(self) -> str:
        if settings.REDIS_URL and not health.broker_answers():
            raise CommandError(
                "The broker named by REDIS_URL does not answer: start it, correct REDIS_URL, "
                "or unset it so that a private one is started."
            )
        return str(settings.REDIS_URL)

    def _start_broker(self, supervisor: Supervisor) -> str:
        with self._step("Starting the broker"):
            broker = Broker(settings.HOLDPOINT_DATA)
            supervisor.start(broker)
            broker.wait_ready()
        # This process publishes too, while it loads the demo.
        return broker.url

    def _children(self, env: dict[str, str], port: int) -> list[WebProcess | WorkerProcess | BeatProcess]:
        return [
            WebProcess(env, port),
            WorkerProcess(env, TURNS, THREADS),
            WorkerProcess(env, TOOLS, 1, "prefork", name="tools-worker"),
            BeatProcess(env),
        ]

    def _prepare(self, *, demo: bool) -> list[SignIn]:
        with self._step("Preparing the database"):
            self.check()
            call_command("migrate", verbosity=0, interactive=False)
        people: list[SignIn] = []
        if demo:
            with self._step("Loading the demo"):
                people = ensure_demo_people(settings.HOLDPOINT_DATA)
                if _has_demo():
                    call_command("support_desk", "demo")
        connections.close_all()
        return people

    def _await(self, supervisor: Supervisor, url: str) -> None:
        began = said = time.monotonic()

        def ready_or_late() -> bool:
            nonlocal said
            now = time.monotonic()
            missing = _missing(url)
            if missing and now - said >= 3:
                said = now
                self._say(f"  {now - began:.0f} s, still waiting for {', '.join(missing)}")
            return now - began > PATIENCE or not missing

        supervisor.watch(until=ready_or_late)
        missing = _missing(url)
        if missing:
            logs = Path(settings.HOLDPOINT_DATA) / "logs"
            raise NotReady(f"Not ready after {PATIENCE} s, missing: {', '.join(missing)}. Look into {logs}.")

    def _empty_database(self, *, sure: bool) -> None:
        if not settings.EMBEDDED:
            raise CommandError(
                "--fresh empties the embedded database alone, and DATABASE_URL names another one."
            )
        path = Path(connection.settings_dict["NAME"])
        if not path.exists():
            return
        if not sure:
            if not sys.stdin.isatty():
                raise CommandError(
                    "--fresh asks before it empties the database: add --yes where nobody answers."
                )
            if (
                input(f"Empty {path}, with every run, approval and journal in it? [y/N] ").strip().lower()
                != "y"
            ):
                raise CommandError("Nothing was changed.")
        for suffix in ("-wal", "-shm", ""):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        self._say("The embedded database is empty.")

    def _welcome(self, address: str, people: list[SignIn]) -> None:
        self._say(f"\nHoldpoint is ready: {address}\n")
        width = max((len(person.full_name) for person in people), default=0)
        for person in people:
            role = person.role.removesuffix("s")
            self._say(
                f"  {role:<9} {person.full_name:<{width}}  sign in as {person.username}, {person.password}"
            )
        if not people:
            self._say("  Make the first person: python3 manage.py createsuperuser")
        self._point_out_queues()
        self._say(
            f"\nLogs: {settings.HOLDPOINT_DATA / 'logs'}. Ctrl-C ends it all; what waits goes on next time."
        )

    def _point_out_queues(self) -> None:
        """Queues of the installed apps that are for workers elsewhere."""
        place = os.environ.get("HOLDPOINT_DATA")
        where = f"HOLDPOINT_DATA={shlex.quote(place)} " if place else ""
        for queue in sorted(health.queues() - {*TURNS, *TOOLS}):
            start = f"{where}{workers.how_to_start(queue)}"
            if not workers.anyone_listens_to(queue):
                self._say(f"\nNo worker listens on queue {queue}; start one: {start}")
        connections.close_all()

    @contextmanager
    def _step(self, doing: str) -> Iterator[None]:
        began = time.monotonic()
        self._say(f"{doing} …")
        yield
        taken = time.monotonic() - began
        if taken > 2:
            self._say(f"  done after {taken:.0f} s")

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


def _has_demo() -> bool:
    """Whether the support desk is installed and has a demo to load; each of its verbs is one method."""
    app = get_commands().get("support_desk")
    return isinstance(app, str) and hasattr(load_command_class(app, "support_desk"), "_demo")


def _missing(url: str) -> list[str]:
    """What /healthz says is missing; the web server itself when it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own loopback address
            return []
    except urllib.error.HTTPError as error:
        return _named(error.read()) or ["web"]
    except OSError:
        return ["web"]


def _named(body: bytes) -> list[str]:
    try:
        return [str(name) for name in json.loads(body)["missing"]]
    except (ValueError, KeyError, TypeError):
        return []
