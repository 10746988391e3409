"""``runs incident``: what a person does with a call that stands still for them."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from runs import services
from runs.cli import people, words
from runs.cli.answers import Answers, Exit, Verb, no
from tools.canonical import NotJson, parse


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="the id of a run that needs attention")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--retry", action="store_true", help="try the call again")
    what.add_argument("--answer", metavar="JSON", help="the result of the call, found or done by hand")
    what.add_argument("--stop", action="store_true", help="let the call fail; the workflow hears of it")
    people.add_reason(parser)


def _incident(answers: Answers, options: dict[str, Any]) -> None:
    who = {
        "actor": people.actor(options["by"], people.CONTROL, "control runs"),
        "reason": options["reason"],
    }
    if options["answer"] is not None:
        run = services.answer_call(options["run"], _read(options["answer"]), **who)
    elif options["retry"]:
        run = services.retry_call(options["run"], **who)
    else:
        run = services.stop_call(options["run"], **who)
    answers.give(words.described(run), words.line(run))


def _read(text: str) -> Any:
    try:
        return parse(text)
    except NotJson as error:
        raise no(Exit.USAGE, f"--answer: {error}.") from error


VERBS = [Verb("incident", "what becomes of a call that stands still for a person", _arguments, _incident)]
