"""Replaying records against the code at hand: replay, check, export."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runs import services, workflow
from runs.cli import people
from runs.cli.answers import Answers, Exit, Verb, ended_badly, no
from runs.models import Run
from runs.replays import golden
from runs.replays.replay import replay, replay_run
from runs.replays.report import Report
from runs.replays.side_by_side import side_by_side
from runs.states import RUN_ENDED

QUIET = 2.0  # seconds without a line of progress


def _replay_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run")
    parser.add_argument("--version", type=int, default=None, help="against this version's code")


def _replay(answers: Answers, options: dict[str, Any]) -> None:
    run = services.found_run(options["run"])
    if options["version"] is not None:
        workflow.get(run.workflow, options["version"])  # one that is asked for by name must be there
    report = replay_run(run.id, options["version"])
    answers.give(report.as_json(), _told(report, report.run_id))
    if not report.matches:
        raise ended_badly(Exit.FAILED, f"{report.run_id} does not fit the code.")


def _told(report: Report, where: str) -> str:
    said = f"{where}  {report.workflow} version {report.version}: {report.sentence}"
    return f"{said}\n{side_by_side(report.divergence)}" if report.divergence else said


def _check_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--golden", action="append", default=[], metavar="DIR", help="also the histories in this folder"
    )
    parser.add_argument("--only-golden", action="store_true", help="no runs: for where there is no database")
    parser.add_argument("--all", action="store_true", help="go on after the first that does not fit")


def _check(answers: Answers, options: dict[str, Any]) -> None:
    checked, misfits = 0, []
    shown = began = time.monotonic()
    for where, report in _reports(options):
        checked += 1
        if time.monotonic() - shown > QUIET:
            shown = time.monotonic()
            answers.aside(f"{checked} checked in {shown - began:.0f} s …")
        if report.matches:
            continue
        misfits.append({"where": where, **report.as_json()})
        answers.line(_told(report, where))
        if not options["all"]:
            break
    answers.give({"checked": checked, "misfits": misfits}, _sum(checked, len(misfits), options["all"]))
    if misfits:
        raise ended_badly(Exit.FAILED, "Records do not fit the code: do not deploy it like this.")


def _reports(options: dict[str, Any]) -> Iterator[tuple[str, Report]]:
    """One record at a time, so that memory does not grow with their number."""
    try:
        for path in golden.discover(map(Path, options["golden"])):
            yield str(path), replay(golden.read(path))
    except (golden.NotAHistory, OSError) as error:
        raise no(Exit.USAGE, str(error)) from error
    if options["only_golden"]:
        return
    in_flight = Run.objects.exclude(state__in=RUN_ENDED).order_by("id").values_list("id", flat=True)
    for run_id in in_flight.iterator():
        yield run_id, replay_run(run_id)


def _sum(checked: int, misfits: int, every: bool) -> str:
    records = f"{checked} record{'' if checked == 1 else 's'}"
    if not misfits:
        return f"{records} checked: every one fits the code."
    rest = "" if every else "; --all goes on after the first"
    return f"{records} checked, {misfits} {'does' if misfits == 1 else 'do'} not fit{rest}."


def _export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run")
    parser.add_argument("--output", default="", metavar="FILE", help="write it there")
    people.add_by(parser)


def _export(answers: Answers, options: dict[str, Any]) -> None:
    people.actor(options["by"], people.TECHNICAL, "see what runs are given and return")
    history = golden.export_run(options["run"])
    text = golden.as_text(history)
    if not options["output"]:
        answers.give(history, text.rstrip("\n"))
        return
    try:
        Path(options["output"]).write_text(text, encoding="utf-8")
    except OSError as error:
        raise no(Exit.USAGE, f"It cannot be written: {error}.") from error
    answers.aside("It holds what the run was given and returned: keep only invented people in a repository.")
    told = {"run": options["run"], "file": options["output"], "steps": len(history["steps"])}
    answers.give(told, f"{options['run']} with {len(history['steps'])} steps is in {options['output']}.")


VERBS = [
    Verb("replay", "compare a run with the code, without effects", _replay_arguments, _replay),
    Verb(
        "check", "compare all runs under way and the golden histories with the code", _check_arguments, _check
    ),
    Verb("export", "a run's record as a file for golden histories", _export_arguments, _export),
]
