"""``manage.py journal verify``: prove that the journals are whole.

Exit codes: 0 every chain holds, 1 at least one does not, 4 no such run.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from runs.anchors import verify_anchors
from runs.journal import Break, verify
from runs.models import JournalEntry, Run
from tools.command import PlainCommand

BROKEN, NOT_FOUND = 1, 4
EVERY = 200  # runs between two lines of progress


class Command(PlainCommand):
    """Verifies the hash chain, the seals and the heads of journals."""

    help = "Verify that journals are whole: every entry sealed, none missing, none changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        check = verbs.add_parser("verify", help="verify one run's journal, or all of them")
        check.add_argument("run", nargs="?", default="", help="the id of a run; all runs if left out")
        check.add_argument(
            "--anchors", metavar="FOLDER", help="also see that nothing these anchors know is missing"
        )
        check.add_argument("--json", action="store_true", help="the result as one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        runs = Run.objects.order_by("id")
        if options["run"]:
            runs = runs.filter(pk=options["run"])
            if not runs.exists():
                raise CommandError(f"There is no run {options['run']}.", returncode=NOT_FOUND)
        breaks, entries = self._verify(runs, quiet=options["json"])
        if options["anchors"]:
            breaks += _against(options["anchors"])
        if options["json"]:
            found = [{"run": b.run_id, "seq": b.seq, "reason": b.reason} for b in breaks]
            self.stdout.write(json.dumps({"runs": runs.count(), "entries": entries, "breaks": found}))
        for broken in [] if options["json"] else breaks:
            place = f", entry {broken.seq}" if broken.seq else ""
            self.stdout.write(f"{broken.run_id}{place}: {broken.reason}")
        if breaks:
            raise CommandError(f"{len(breaks)} places do not hold.", returncode=BROKEN)
        if not options["json"]:
            self.stdout.write(f"{entries} entries of {runs.count()} runs: every chain holds.")

    def _verify(self, runs: Any, *, quiet: bool) -> tuple[list[Break], int]:
        breaks: list[Break] = []
        entries = 0
        for number, run in enumerate(runs.iterator(), start=1):
            rows = list(JournalEntry.objects.filter(run=run).order_by("seq"))
            entries += len(rows)
            breaks += verify(run, rows)
            if number % EVERY == 0 and not quiet:
                self.stderr.write(f"{number} runs, {entries} entries …")
        return breaks, entries


def _against(folder: str) -> list[Break]:
    place = Path(folder)
    if not any(place.glob("anchor-*.json")):
        raise CommandError(f"There are no anchors in {place}.", returncode=NOT_FOUND)
    try:
        return list(verify_anchors(place))
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"The anchors in {place} cannot be read: {error}.", returncode=BROKEN) from error
