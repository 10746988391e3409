"""How commands answer: a line for people or one JSON value, and an exit code that scripts can rely on."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from runs import services, workflow
from runs.typed import Misfit
from tools.canonical import NotJson, parse
from tools.contract import InvalidArguments
from tools.registry import UnknownTool


class Exit(IntEnum):
    """What an exit code says."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3  # for a person
    NOT_FOUND = 4
    REFUSED = 5
    CONFLICT = 6
    STOPPED = 130  # by Ctrl-C


#: What a NotPossible comes to, by its code; every other code is a refusal.
_OBSTACLES = {
    "state": Exit.CONFLICT,
    "duplicate": Exit.CONFLICT,
    "reason": Exit.USAGE,
    "none": Exit.USAGE,
    "many": Exit.USAGE,
    "verb": Exit.USAGE,
    "path": Exit.NOT_FOUND,
}


def no(code: Exit, sentence: str) -> CommandError:
    """The error that ends a command with `code` and one line."""
    return CommandError(sentence, returncode=int(code))


@dataclass
class Answers:
    """Where a command answers, and whether as JSON."""

    out: Any  # a stream that ends every line by itself, as Django's does
    err: Any
    as_json: bool = False

    def give(self, value: Any, text: str) -> None:
        """`value` as JSON when that was asked for, else `text`."""
        self.out.write(json.dumps(value, ensure_ascii=False, indent=2) if self.as_json else text)

    def line(self, text: str) -> None:
        """A line for people, while something goes on; nothing with JSON."""
        if not self.as_json:
            self.out.write(text)
            self.out.flush()

    def aside(self, text: str) -> None:
        """A line that is no answer, such as progress."""
        self.err.write(text)
        self.err.flush()


@dataclass(frozen=True)
class Verb:
    """One verb of a command."""

    name: str
    help: str
    arguments: Callable[[ArgumentParser], None]
    act: Callable[[Answers, dict[str, Any]], None]


def add_verbs(parser: ArgumentParser, verbs: list[Verb]) -> Any:
    """A parser for each of `verbs`, every one with ``--json``; where further verbs can be added."""
    below = parser.add_subparsers(dest="verb", required=True)
    for verb in verbs:
        made = below.add_parser(verb.name, help=verb.help, description=verb.help)
        verb.arguments(made)
        made.add_argument("--json", action="store_true", help="the answer as one JSON value")
        made.set_defaults(act=verb.act)
    return below


@contextmanager
def answering(answers: Answers) -> Iterator[None]:
    """Around a verb: what it refuses becomes one line and an exit code, and with JSON an object as well."""
    try:
        with _in_exit_codes():
            yield
    except CommandError as error:
        if answers.as_json and not getattr(error, "answered", False):
            told = {"code": Exit(error.returncode).name.lower(), "message": str(error)}
            answers.give({"error": told}, "")
        raise


@contextmanager
def _in_exit_codes() -> Iterator[None]:
    try:
        yield
    except (services.NotFound, workflow.UnknownWorkflow, UnknownTool) as error:
        raise no(Exit.NOT_FOUND, str(error)) from error
    except (workflow.InvalidInput, Misfit, InvalidArguments, NotJson) as error:
        raise no(Exit.USAGE, f"{str(error).rstrip('.')}.") from error
    except services.NotPossible as error:
        raise no(_OBSTACLES.get(error.code, Exit.REFUSED), str(error)) from error
    except (services.NotAllowed, services.QueueFull, services.TooManyMessages) as error:
        raise no(Exit.REFUSED, str(error)) from error


def ended_badly(code: Exit, sentence: str) -> CommandError:
    """As `no`, after the answer was given already."""
    error = no(code, sentence)
    error.answered = True  # type: ignore[attr-defined]
    return error


# What is typed


def read_value(given: str) -> Any:
    """A JSON value: the text itself, ``@FILE``, or ``-`` for standard input. Raises CommandError."""
    try:
        if given == "-":
            return parse(sys.stdin.read())
        return parse(Path(given[1:]).read_text() if given.startswith("@") else given)
    except OSError as error:
        raise no(Exit.USAGE, f"The input cannot be read: {error}.") from error
    except (NotJson, UnicodeDecodeError) as error:
        raise no(Exit.USAGE, f"The input is not usable: {error}.") from error


def read_moment(given: str | None, option: str) -> datetime | None:
    """A moment with its time zone, such as 2026-11-21T09:00:00+00:00. Raises CommandError."""
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise no(Exit.USAGE, f"{option}: {given} is no moment; write 2026-11-21T09:00:00+00:00.") from None
    if moment.tzinfo is None:
        raise no(Exit.USAGE, f"{option}: {given} has no time zone; write {given}+00:00 for UTC.")
    return moment
