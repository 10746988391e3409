"""``manage.py tools``: what may be done, and what became of calls that nobody knows the outcome of.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the lock of contracts is behind, 4 no such tool, call or
person, 5 refused, 6 others were first.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, ProgrammingError

from tools import services
from tools.cli import breaker, listing, locking, mcp, reconcile, showing, switches, unknown
from tools.cli.answers import Answers, Exit, add_verbs, answering, no
from tools.command import PlainCommand
from tools.registry import UnknownTool

VERBS = [
    listing.VERB,
    showing.VERB,
    unknown.VERB,
    reconcile.VERB,
    breaker.VERB,
    switches.KILL,
    switches.RELEASE,
    switches.SWITCHES,
    locking.CHECK,
    locking.LOCK,
    mcp.VERB,
]


class Command(PlainCommand):
    """Everything that can be done with tools and their calls from a shell."""

    help = "List and show tools; list and reconcile tool calls whose outcome is unknown."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_verbs(parser, VERBS)

    def handle(self, *args: Any, **options: Any) -> None:
        answers = Answers(self.stdout, self.stderr, as_json=options["json"])
        with answering(answers, _in_exit_codes):
            options["act"](answers, options)


@contextmanager
def _in_exit_codes() -> Iterator[None]:
    try:
        yield
    except (services.CallNotFound, UnknownTool) as error:
        raise no(Exit.NOT_FOUND, _sentence(error)) from error
    except services.NotUnknown as error:
        raise no(Exit.CONFLICT, _sentence(error)) from error
    except services.SettlementRefused as error:
        raise no(Exit.REFUSED, _sentence(error)) from error
    except (OperationalError, ProgrammingError) as error:
        cure = "see that it can be reached and is up to date: manage.py migrate"
        raise no(Exit.FAILED, f"The database does not answer ({_first_line(error)}); {cure}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _sentence(error: Exception) -> str:
    said = str(error)
    return said if said.endswith(("?", ".")) else f"{said}."
