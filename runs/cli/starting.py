"""Starting runs: start, call."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from runs import services
from runs.cli import people, words
from runs.cli.answers import Answers, Exit, Verb, no, read_moment, read_value
from runs.cli.looking import add_until, follow, sees_contents
from runs.messages import HIGHEST, USUAL
from runs.models import Run
from runs.services.start import ON_DUPLICATE

SOURCE = "command"


def _start_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("workflow", help="its name; `runs workflows` lists them")
    parser.add_argument("--input", default="{}", help="its input as JSON, @FILE, or - for standard input")
    parser.add_argument("--version", type=int, default=None, help="this version, not the newest active one")
    parser.add_argument("--key", default="", help="the business key: one run for each, unless said otherwise")
    parser.add_argument(
        "--on-duplicate", choices=ON_DUPLICATE, default="return", help="when the key has a run (return)"
    )
    parser.add_argument("--priority", type=int, default=USUAL, help=f"0 to {HIGHEST}; higher ones first")
    parser.add_argument("--at", metavar="MOMENT", help="start no earlier, such as 2026-11-21T09:00:00+00:00")
    parser.add_argument("--deadline", metavar="MOMENT", help="when it is wanted to be done")
    _add_common(parser)


def _add_common(parser: ArgumentParser) -> None:
    parser.add_argument("--intent", default="", help="what the run is for, in one sentence")
    parser.add_argument("--wait", action="store_true", help="follow it until its end")
    add_until(parser)
    people.add_by(parser)


def _start(answers: Answers, options: dict[str, Any]) -> None:
    value = read_value(options["input"])
    actor = people.actor(options["by"], people.START, "start runs")
    if not 0 <= options["priority"] <= HIGHEST:
        raise no(Exit.USAGE, f"--priority: write a whole number from 0 to {HIGHEST}.")
    run = services.start_run(
        options["workflow"],
        value,
        actor=actor,
        intent=options["intent"],
        source=SOURCE,
        version=options["version"],
        key=options["key"],
        on_duplicate=options["on_duplicate"],
        priority=options["priority"],
        start_at=read_moment(options["at"], "--at"),
        deadline=read_moment(options["deadline"], "--deadline"),
    )
    _give(answers, options, run)


def _call_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("tool", help="its name; `tools list` lists them")
    parser.add_argument(
        "--arguments", default="{}", help="its arguments as JSON, @FILE, or - for standard input"
    )
    _add_common(parser)


def _call(answers: Answers, options: dict[str, Any]) -> None:
    arguments = read_value(options["arguments"])
    actor = people.actor(options["by"], people.START, "start runs")
    if not isinstance(arguments, dict):
        raise no(Exit.USAGE, "--arguments: write one JSON object.")
    run = services.call_tool(options["tool"], arguments, actor=actor, intent=options["intent"], source=SOURCE)
    _give(answers, options, run)


def _give(answers: Answers, options: dict[str, Any], run: Run) -> None:
    technical = sees_contents(options)
    if options["wait"] or options["until_waiting"]:
        follow(answers, run, until_waiting=options["until_waiting"], technical=technical)
        return
    answers.give(words.described(run, technical=technical), words.line(run))


VERBS = [
    Verb("start", "start a run of a workflow", _start_arguments, _start),
    Verb("call", "make one tool call, as a run of its own", _call_arguments, _call),
]
