"""``tools breaker``: how the breaker of a tool stands, and to open or close it by hand."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from tools import breakers, registry
from tools.cli.answers import Answers, Exit, Verb, no
from tools.cli.people import actor
from tools.cli.protected import breaker_as_json, in_words


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("tool", metavar="TOOL", help="the name of a tool")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--open", type=float, metavar="SECONDS", help="let no call pass for so long")
    how.add_argument("--close", action="store_true", help="let calls pass again")
    parser.add_argument("--reason", default="", help="why; kept with what is done")
    parser.add_argument("--by", default="", metavar="USERNAME", help="in whose name")


def _breaker(answers: Answers, options: dict[str, Any]) -> None:
    tool = registry.get(options["tool"])
    if options["open"] is not None or options["close"]:
        _move(tool, options)
    told = breaker_as_json(tool)
    answers.give(told, f"{tool.name}: {in_words(told)}")


def _move(tool: Any, options: dict[str, Any]) -> None:
    for name in ("reason", "by"):
        if not options[name].strip():
            raise no(Exit.USAGE, f"To open or close a breaker by hand, give --{name} as well.")
    by = actor(options["by"], "tools.move_toolbreaker", "open or close breakers")
    try:
        if options["close"]:
            breakers.close_by_hand(tool, reason=options["reason"], actor=by)
        else:
            breakers.open_by_hand(tool, options["open"], reason=options["reason"], actor=by)
    except ValueError as error:
        raise no(Exit.REFUSED, f"{error}.") from error


VERB = Verb("breaker", "how the breaker of a tool stands; open or close it by hand", _arguments, _breaker)
