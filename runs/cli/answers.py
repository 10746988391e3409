"""What the verbs of ``manage.py runs`` refuse, in exit codes, and how they read what is typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from runs import services, workflow
from runs.typed import Misfit
from tools.canonical import NotJson, parse
from tools.cli import answers as answers_of
from tools.cli.answers import Answers, Exit, Verb, add_verbs, ended_badly, no
from tools.contract import InvalidArguments
from tools.registry import UnknownTool

__all__ = [
    "Answers",
    "Exit",
    "Verb",
    "add_verbs",
    "answering",
    "ended_badly",
    "no",
    "read_moment",
    "read_value",
]


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


def answering(answers: Answers) -> AbstractContextManager[None]:
    """Around a verb: what it refuses becomes one line and an exit code, and with JSON an object as well."""
    return answers_of.answering(answers, _in_exit_codes)


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
