"""``support_desk load``: put a data folder into the shop."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from examples.support_desk.folder import BadData
from examples.support_desk.loading import load


class Command(BaseCommand):
    help = "The support desk: load a shop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        loading = verbs.add_parser("load", help="put the shop of a data folder into the database")
        loading.add_argument(
            "--data", required=True, type=Path, metavar="DIR", help="holds users.json and so on"
        )
        loading.add_argument(
            "--replace",
            action="store_true",
            help="put records that have changed since back to what the files say",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['verb']}")(**options)
        except BadData as error:
            raise CommandError(f"{error} Nothing was changed.") from None

    def _load(self, data: Path, replace: bool, **options: Any) -> None:
        self.stdout.write(f"Reading {data} …")
        results = load(data, replace=replace, progress=self._progress)
        for result in results:
            self.stdout.write(result.sentence)
        if any(result.differing for result in results):
            self.stdout.write("Records that differ were left as they are; --replace puts them back.")

    def _progress(self, kind: str, done: int, total: int) -> None:
        self.stdout.write(f"  {kind}: {done} of {total}")
