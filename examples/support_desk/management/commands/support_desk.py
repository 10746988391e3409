"""``support_desk load``: a folder into the shop; ``demo``: a shop of our own; ``play``: cases and a judge."""

from __future__ import annotations

import argparse
import json
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from examples.support_desk import loading
from examples.support_desk.cases import Case, read_cases
from examples.support_desk.crew import Crew
from examples.support_desk.demo import activate, load_demo
from examples.support_desk.folder import BadData, read_shop
from examples.support_desk.play import Play, Report
from examples.support_desk.stage import EFFECTS, INTERRUPTED, NoStage, run_on_stage
from ops.demo_people import ensure_demo_people
from ops.launch.leash import end_with_parent
from runs import actors
from tools.command import PlainCommand


def at_least_one(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up.")
    return int(text)


class Command(PlainCommand):
    """Each verb is one method."""

    help = "The support desk: load a shop or the demo, play cases."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        load = verbs.add_parser("load", help="put the shop of a data folder into the database")
        load.add_argument(
            "--data", required=True, type=Path, metavar="DIR", help="holds users.json and so on"
        )
        load.add_argument(
            "--replace",
            action="store_true",
            help="put records that have changed since back to what the files say",
        )
        verbs.add_parser("demo", help="a small shop of made-up people, and a case for each way one can go")
        play = verbs.add_parser("play", help="play a file of cases on a database and broker of its own")
        play.add_argument(
            "--data", required=True, type=Path, metavar="DIR", help="holds users.json and so on"
        )
        play.add_argument(
            "--tasks", required=True, type=Path, metavar="FILE", help="one case a line, as JSON"
        )
        play.add_argument("--limit", type=at_least_one, metavar="N", help="play the first N cases alone")
        play.add_argument("--workers", type=at_least_one, default=2, metavar="N", help="worker processes (2)")
        play.add_argument(
            "--kill-workers", action="store_true", help="kill workers at random moments throughout"
        )
        play.add_argument(
            "--db", choices=("sqlite", "postgres"), default="sqlite", help="which database (sqlite)"
        )
        play.add_argument(
            "--json", action="store_true", help="print the figures as one object, on the last line"
        )
        play.add_argument("--stage", type=Path, help=argparse.SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Runs one verb; every foreseeable failure is one line and exit code 1."""
        try:
            getattr(self, f"_{options['verb']}")(**options)
        except BadData as error:
            raise CommandError(f"{error} Nothing was changed.") from None
        except NoStage as error:
            raise CommandError(str(error)) from None

    def _load(self, data: Path, replace: bool, **options: Any) -> None:
        self._say(f"Reading {data} …")
        results = loading.load(data, replace=replace, progress=self._progress)
        for result in results:
            self._say(result.sentence)
        if any(result.differing for result in results):
            self._say("Records that differ were left as they are; --replace puts them back.")

    def _demo(self, **options: Any) -> None:
        people = ensure_demo_people(settings.HOLDPOINT_DATA)
        omar = next(person.username for person in people if person.role == "operators")
        reviewer = next(person.username for person in people if person.role == "reviewers")
        started = load_demo(actors.user(omar), User.objects.get(username=reviewer))
        self._say(f"  Cases queued: {len(started)}." if started else "  The demo's cases are all there.")

    def _play(self, data: Path, tasks: Path, stage: Path | None, **options: Any) -> None:
        cases = read_cases(tasks)[: options["limit"]]
        if stage is not None:
            self._play_on(stage, data, cases, **options)
            return
        read_shop(data)  # nothing is started for data that cannot be played
        self._say(f"Setting a stage with {options['db']} for {len(cases)} cases …")
        try:
            code = run_on_stage(sys.argv[2:], database=options["db"], slow_shop=options["kill_workers"])
        except KeyboardInterrupt:
            raise CommandError("Ended before it was done.", returncode=INTERRUPTED) from None
        sys.exit(code)

    def _play_on(self, stage: Path, data: Path, cases: list[Case], **options: Any) -> None:
        end_with_parent()
        call_command("migrate", verbosity=0, interactive=False)
        loading.load(data)
        people = {person.username: person.role for person in ensure_demo_people(stage)}
        reviewers = [name for name, role in people.items() if role == "reviewers"]
        requester = next(name for name, role in people.items() if role == "operators")
        activate(actors.user(requester))
        crew = Crew(options["workers"], os.environ, stage)
        play = Play(cases, crew, stage / EFFECTS, kill=options["kill_workers"], say=self._say)
        try:
            report = play.perform(list(User.objects.filter(username__in=reviewers)), actors.user(requester))
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        self._show(report, stage, as_json=options["json"])
        if not report.good:
            sys.exit(1)

    def _show(self, report: Report, stage: Path, *, as_json: bool) -> None:
        for task, found in report.why.items():
            self._say(f"{task}: {'; '.join(found)}")
        if not report.good:
            self._say(f"Logs, database and effects are kept in {stage}.")
        self._say(f"{report.as_expected} of {report.tasks} as expected, in {report.seconds} s.")
        figures = report.as_json()
        if as_json:
            self._say(json.dumps(figures))
            return
        for name, figure in figures.items():
            self._say(f"  {name.replace('_', ' ')}: {figure if figure != [] else 'none'}")

    def _progress(self, kind: str, done: int, total: int) -> None:
        self._say(f"  {kind}: {done} of {total}")

    def _say(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()
