"""How commands answer: a line for people or one JSON value, and an exit code that scripts can rely on."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from django.core.management.base import CommandError


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


def no(code: Exit, sentence: str) -> CommandError:
    """The error that ends a command with `code` and one line."""
    return CommandError(sentence, returncode=int(code))


def ended_badly(code: Exit, sentence: str) -> CommandError:
    """As `no`, after the answer was given already."""
    error = no(code, sentence)
    error.answered = True  # type: ignore[attr-defined]
    return error


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


def no_arguments(parser: ArgumentParser) -> None:
    """The arguments of a verb that takes none."""


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
def answering(answers: Answers, in_exit_codes: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Around a verb: what it refuses becomes one line and an exit code, and with JSON an object as well.

    `in_exit_codes` is a context that turns the errors of an app's verbs into `no(code, sentence)`.
    """
    try:
        with in_exit_codes():
            yield
    except CommandError as error:
        if answers.as_json and not getattr(error, "answered", False):
            told = {"code": Exit(error.returncode).name.lower(), "message": str(error)}
            answers.give({"error": told}, "")
        raise


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their heads, as text."""
    lines = [heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
