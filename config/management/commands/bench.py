"""`manage.py bench`: how fast this machine runs workflows, on a database and a broker of its own."""

import json
import subprocess
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from benchmarks.place import place
from ops.launch.broker import NoBroker
from ops.launch.postgres import NoPostgres
from ops.launch.processes import PROJECT, NotReady
from tools.command import PlainCommand

MEASURES = (
    "steps",
    "latency",
    "resume",
    "recovery",
    "start",
    "overlap",
    "waiting",
    "statements",
    "timers",
    "long",
)


class Command(PlainCommand):
    """Starts what is measured, has it measured in a process of its own, and removes it again."""

    help = "Measures the engine with real workers, on a database and a broker started for it alone."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"{', '.join(MEASURES)}; all")
        parser.add_argument("--db", choices=("postgres", "sqlite"), default="postgres")
        parser.add_argument("--quick", action="store_true", help="little of each: to see that it works")
        parser.add_argument("--json", action="store_true", help="one object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exits with 2 for a measure that there is not, with 1 when something is missing or ended early."""
        unknown = [name for name in options["measures"] if name not in MEASURES]
        if unknown:
            raise CommandError(
                f"There is no measure {unknown[0]!r}; there are {', '.join(MEASURES)}.", returncode=2
            )
        chosen = [name for name in MEASURES if not options["measures"] or name in options["measures"]]
        try:
            with place(options["db"]) as env:
                code = self._measure(env, chosen, quick=options["quick"], as_json=options["json"])
        except (NoPostgres, NoBroker, NotReady) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            sys.exit(130)
        if code:
            raise CommandError("The measuring ended early; what went wrong stands above.")

    def _measure(self, env: dict[str, str], chosen: list[str], *, quick: bool, as_json: bool) -> int:
        line = [sys.executable, "-m", "benchmarks.driver", *chosen, *(["--quick"] if quick else [])]
        with subprocess.Popen(line, env=env, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as driver:
            assert driver.stdout is not None  # noqa: S101 - it is a pipe
            for told in driver.stdout:
                self.stdout.write(told.rstrip("\n") if as_json else self._in_words(json.loads(told)))
                self.stdout.flush()
        return driver.returncode

    @staticmethod
    def _in_words(figure: dict[str, Any]) -> str:
        low, high = figure["spread"]
        spread = f"   ({low:g} to {high:g})" if low != high else ""
        return f"{figure['measure']:<45} {figure['value']:>10g} {figure['unit']}{spread}"
