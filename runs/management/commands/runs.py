"""``manage.py runs``: start runs, look at them, let one go on.

Exit codes: 0 done, 2 wrong usage or input, 4 no such run or workflow, 5 refused.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from runs import actors, services, workflow
from runs.management import activating
from runs.models import JournalEntry, Run
from runs.states import look_of
from tools.canonical import NotJson, parse

USAGE, NOT_FOUND, REFUSED = 2, 4, 5


class Command(BaseCommand):
    """Starts, lists, shows and resumes runs."""

    help = "Start, list, show and resume runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        start = verbs.add_parser("start", help="start a run of a workflow")
        start.add_argument("workflow", help="its name; `runs workflows` lists them")
        start.add_argument("--input", default="{}", help="its input as JSON, @FILE, or - for standard input")
        start.add_argument("--intent", default="", help="what the run is for, in one sentence")
        start.add_argument("--by", required=True, metavar="USERNAME", help="who asks for it")
        listing = verbs.add_parser("list", help="the newest runs")
        listing.add_argument("--state", default="", help="only runs in this state")
        listing.add_argument("--limit", type=int, default=20)
        show = verbs.add_parser("show", help="one run with its journal")
        show.add_argument("run")
        resume = verbs.add_parser("resume", help="let a run that needs attention go on")
        resume.add_argument("run")
        resume.add_argument("--reason", required=True)
        resume.add_argument("--by", required=True, metavar="USERNAME")
        activating.add_verbs(verbs)
        verbs.add_parser("workflows", help="the workflows that can be started")
        for verb in (start, listing, show, resume):
            verb.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["verb"] in activating.VERBS:
            self.stdout.write(activating.change(options["verb"], options, _actor(options["by"])))
            return
        getattr(self, f"_{options['verb']}")(options)

    def _workflows(self, options: dict[str, Any]) -> None:
        for each in workflow.all_workflows():
            self.stdout.write(f"{each.name} version {each.version}: {each.description}")

    def _start(self, options: dict[str, Any]) -> None:
        value, by = _input(options["input"]), _actor(options["by"])
        try:
            run = services.start_run(
                options["workflow"], value, actor=by, intent=options["intent"], source="command"
            )
        except workflow.UnknownWorkflow as error:
            raise CommandError(str(error), returncode=NOT_FOUND) from error
        except workflow.InvalidInput as error:
            raise CommandError(f"{error}.", returncode=USAGE) from error
        except (services.NotPossible, services.QueueFull) as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        self._say(options, _line(run), run)

    def _list(self, options: dict[str, Any]) -> None:
        runs = Run.objects.order_by("-created_at")
        if options["state"]:
            runs = runs.filter(state=options["state"])
        chosen = list(runs[: options["limit"]])
        if options["json"]:
            self.stdout.write(json.dumps([_described(run) for run in chosen], indent=2))
            return
        self.stdout.write("\n".join(_line(run) for run in chosen) or "There are no runs.")

    def _show(self, options: dict[str, Any]) -> None:
        run = _found(options["run"])
        entries = JournalEntry.objects.filter(run=run).order_by("seq")
        if options["json"]:
            lines = [{"seq": e.seq, "at": e.at.isoformat(), "sentence": e.sentence} for e in entries]
            self.stdout.write(json.dumps(_described(run) | {"journal": lines}, indent=2))
            return
        self.stdout.write(_line(run))
        for entry in entries:
            self.stdout.write(f"{entry.seq:4} {entry.at:%Y-%m-%d %H:%M:%S} {entry.sentence}")

    def _resume(self, options: dict[str, Any]) -> None:
        run = _found(options["run"])
        try:
            run = services.resume_run(run.id, actor=_actor(options["by"]), reason=options["reason"])
        except services.NotPossible as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        self._say(options, _line(run), run)

    def _say(self, options: dict[str, Any], line: str, run: Run) -> None:
        self.stdout.write(json.dumps(_described(run)) if options["json"] else line)


def _line(run: Run) -> str:
    waits = f" for {run.waiting_for}" if run.waiting_for else ""
    return f"{run.id}  {look_of(run.state).word}{waits}  {run.workflow}  {run.intent}".rstrip()


def _described(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "state": run.state,
        "intent": run.intent,
        "requester": run.requester,
        "waiting_for": run.waiting_for,
        "attention": run.attention,
        "created_at": run.created_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
    }


def _found(run_id: str) -> Run:
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise CommandError(
            f"There is no run {run_id}; `manage.py runs list` shows them.", returncode=NOT_FOUND
        )
    return run


def _actor(username: str) -> str:
    if not get_user_model().objects.filter(username=username, is_active=True).exists():
        raise CommandError(f"There is no active user called {username}.", returncode=NOT_FOUND)
    return actors.user(username)


def _input(given: str) -> Any:
    try:
        if given == "-":
            text = sys.stdin.read()
        else:
            text = Path(given[1:]).read_text() if given.startswith("@") else given
        return parse(text)
    except OSError as error:
        raise CommandError(f"The input cannot be read: {error}.", returncode=USAGE) from error
    except (NotJson, UnicodeDecodeError) as error:
        raise CommandError(f"The input is not usable: {error}.", returncode=USAGE) from error
