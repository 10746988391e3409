"""What people do with runs that are under way or have failed, alone or many at once."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from runs import services
from runs.cli import incidents, people, words
from runs.cli.answers import Answers, Exit, Verb, ended_badly, no
from runs.cli.looking import add_choice, chosen
from runs.models import Run
from runs.services.standing import DONE, POSSIBLE

TO = "control runs"


def _arguments(parser: ArgumentParser, *, retries: bool = False) -> None:
    parser.add_argument("run", nargs="?", default="", help="the id of a run; or --all")
    parser.add_argument("--all", action="store_true", help="all runs that --state and --workflow choose")
    add_choice(parser)
    parser.add_argument("--dry-run", action="store_true", help="tell what would happen, and do nothing")
    parser.add_argument("--yes", action="store_true", help="do it to many without a question")
    if retries:
        parser.add_argument("--from", dest="from_path", default="", metavar="PATH", help="from this step on")
    people.add_reason(parser)


def _act(verb: str, answers: Answers, options: dict[str, Any]) -> None:
    actor = people.actor(options["by"], people.CONTROL, TO)
    if bool(options["run"]) == options["all"]:
        raise no(Exit.USAGE, "Name one run, or choose many with --all and --state or --workflow.")
    if options["all"]:
        _many(verb, answers, options, actor)
    elif options["dry_run"]:
        services.found_run(options["run"])
        _give_forecast(answers, services.foresee(verb, [options["run"]]))
    else:
        run = _one(verb, options, actor)
        answers.give(words.described(run), words.line(run))


def _one(verb: str, options: dict[str, Any], actor: str) -> Run:
    further = {"from_path": options["from_path"]} if options.get("from_path") else {}
    return services.VERBS[verb](options["run"], actor=actor, reason=options["reason"], **further)


def _many(verb: str, answers: Answers, options: dict[str, Any], actor: str) -> None:
    if not (options["state"] or options["workflow"]):
        raise no(Exit.USAGE, "--all needs --state, --workflow or both.")
    if options.get("from_path"):
        raise no(Exit.USAGE, "--from is for one run: the steps of others are not the same.")
    ids = _ids(verb, options)
    forecast = _in_parts(ids, partial(services.foresee, verb))
    if options["dry_run"]:
        _give_forecast(answers, forecast)
        return
    if not options["yes"]:
        _confirm(answers, forecast)
    done = _in_parts(ids, partial(services.in_bulk, verb, actor=actor, reason=options["reason"]))
    _give_forecast(answers, done)
    left = done.chosen - len(done.possible)
    if left:
        raise ended_badly(Exit.FAILED, f"{left} of {done.chosen} runs are as they were.")


def _ids(verb: str, options: dict[str, Any]) -> list[str]:
    """The runs that are meant: without ``--state``, those in a state in which the verb is possible."""
    rows = chosen(options) if options["state"] else chosen(options).filter(state__in=POSSIBLE[verb])
    ids = list(rows.values_list("id", flat=True))
    if not ids:
        raise no(Exit.NOT_FOUND, f"No run is chosen by that which could be {DONE[verb]}: nothing was done.")
    return ids


def _in_parts(ids: list[str], act: Callable[[list[str]], services.Forecast]) -> services.Forecast:
    """One forecast of many, made of as many runs at a time as the service takes."""
    most = services.MOST_AT_ONCE
    parts = [act(ids[begin : begin + most]) for begin in range(0, len(ids), most)]
    return replace(parts[0], runs=[run for part in parts for run in part.runs])


def _confirm(answers: Answers, forecast: services.Forecast) -> None:
    if answers.as_json or not sys.stdin.isatty():
        raise no(Exit.USAGE, "Many runs at once need --yes here; --dry-run tells what would happen.")
    _give_forecast(answers, forecast)
    answers.line("Do it? Type yes: ")
    if sys.stdin.readline().strip().lower() != "yes":
        raise no(Exit.REFUSED, "Nothing was done.")


def _give_forecast(answers: Answers, forecast: services.Forecast) -> None:
    lines = [f"{each.run_id}  {each.sentence}" for each in forecast.runs]
    answers.give(forecast.as_json, "\n".join([*lines, f"{forecast.sentence}."]))


def _fork_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run")
    parser.add_argument("--at", required=True, metavar="PATH", help="the first step that is done anew")
    parser.add_argument("--version", type=int, default=None, help="go on with this version of the workflow")
    people.add_reason(parser)


def _fork(answers: Answers, options: dict[str, Any]) -> None:
    actor = people.actor(options["by"], people.CONTROL, TO)
    run = services.fork_run(
        options["run"], options["at"], actor=actor, reason=options["reason"], version=options["version"]
    )
    answers.give(words.described(run), words.line(run))


VERBS = [
    Verb("pause", "let runs stand still after the step in hand", _arguments, partial(_act, "pause")),
    Verb("resume", "let runs that stand still go on", _arguments, partial(_act, "resume")),
    Verb("cancel", "end runs, after their clean-up", _arguments, partial(_act, "cancel")),
    Verb(
        "retry",
        "try the failed step again, or go back to an earlier one",
        partial(_arguments, retries=True),
        partial(_act, "retry"),
    ),
    Verb("fork", "a new run that shares the steps before one of them", _fork_arguments, _fork),
    *incidents.VERBS,
]
