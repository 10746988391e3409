"""``runs roll-back``: have a tool call undone, by a run of its own."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from runs import services
from runs.cli import people, words
from runs.cli.answers import Answers, Exit, Verb, no
from tools.services import CallNotFound


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("call", help="the id of the call that is undone")
    people.add_reason(parser)


def _roll_back(answers: Answers, options: dict[str, Any]) -> None:
    actor = people.actor(options["by"], "runs.start_run", "have calls undone")
    try:
        run = services.roll_back(options["call"], actor=actor, reason=options["reason"])
    except CallNotFound as error:
        raise no(Exit.NOT_FOUND, f"{error}.") from error
    answers.give(words.described(run), words.line(run))


VERBS = [Verb("roll-back", "have a tool call undone, by a run of its own", _arguments, _roll_back)]
