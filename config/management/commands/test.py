"""`manage.py test`: pytest on SQLite and on a private PostgreSQL, everything started and stopped here."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.launch import packages
from ops.launch.postgres import NoPostgres, PostgresCluster, find_programs
from ops.launch.processes import PROJECT, NotReady

NO_TESTS = 5  # pytest's exit code when nothing was collected


class Command(BaseCommand):
    """Runs the tests; arguments that it does not know go to pytest."""

    help = "Runs the tests on SQLite and, where its server is installed, on a private PostgreSQL."
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Takes its own options and leaves every other argument to pytest."""
        parser = argparse.ArgumentParser(prog="manage.py test", description=self.help, allow_abbrev=False)
        parser.epilog = "Every other argument goes to pytest, as in: manage.py test tests/runs -k lease -x"
        self.add_arguments(parser)  # type: ignore[arg-type]
        options, rest = parser.parse_known_args(argv[2:])
        try:
            sys.exit(self.handle(pytest_arguments=rest, **vars(options)))
        except CommandError as error:
            self.stderr.write(str(error))
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--db", choices=("sqlite", "postgres", "both"), default="both")
        parser.add_argument(
            "--install", action="store_true", help="install missing system packages (as root)"
        )

    def handle(self, *args: Any, **options: Any) -> Any:
        """Runs the rounds one after the other; the first failure of any is the exit code."""
        strict = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
        rounds: tuple[str, ...] = ("sqlite", "postgres") if options["db"] == "both" else (options["db"],)
        self._supply(rounds, strict=strict, install=options["install"] or strict)
        if find_programs() is None:
            rounds = tuple(name for name in rounds if name != "postgres")
        codes = [self._round(name, options["pytest_arguments"]) for name in rounds]
        bad = [code for code in codes if code not in (0, NO_TESTS)]
        if bad or 0 in codes:
            return bad[0] if bad else 0
        return NO_TESTS

    def _supply(self, rounds: Sequence[str], *, strict: bool, install: bool) -> None:
        missing = packages.missing()
        if missing and install:
            try:
                packages.install(missing, self._say)
            except packages.CannotInstall as error:
                raise CommandError(str(error)) from None
            missing = packages.missing()
        for need in missing:
            self._say(f"{need.name} is not here, its tests are left out: manage.py test --install brings it.")
        lacking = [need.name for need in missing]
        retail = os.environ.get("HOLDPOINT_RETAIL_DATA", "")
        if not Path(retail).is_dir() or not retail:
            lacking.append(f"the retail data (HOLDPOINT_RETAIL_DATA is {retail or 'not set'})")
        if strict and lacking:
            raise CommandError(f"In CI nothing may be left out, and this is missing: {', '.join(lacking)}.")
        if rounds == ("postgres",) and "PostgreSQL" in lacking:
            raise CommandError("There is no PostgreSQL server here: manage.py test --install brings it.")

    def _round(self, database: str, arguments: Sequence[str]) -> int:
        began = time.monotonic()
        # Tests never see a database or broker that the user named: they make and empty their own.
        env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        with ExitStack() as stack:
            env["HOLDPOINT_TEST_DATA"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="hp-test-"))
            if database == "postgres":
                env["DATABASE_URL"] = self._database(stack)
            self._say(f"Tests on {'PostgreSQL' if database == 'postgres' else 'SQLite'} …")
            code = subprocess.run(
                [sys.executable, "-m", "pytest", *arguments], cwd=PROJECT, env=env
            ).returncode
        self._say(f"  done after {time.monotonic() - began:.0f} s")
        return code

    def _database(self, stack: ExitStack) -> str:
        self._say("Starting a private PostgreSQL …")
        try:
            return stack.enter_context(PostgresCluster()).create_database("holdpoint")
        except (NoPostgres, NotReady, OSError) as error:
            raise CommandError(str(error)) from None

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()
