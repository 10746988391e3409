"""``manage.py runs``: start runs, look at them, and do with them what people do.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 waiting for a person, 4 not found, 5 refused, 6 conflict.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from runs.cli import checking, control, looking, starting, telling, undoing, versions
from runs.cli.answers import Answers, add_verbs, answering
from tools.command import PlainCommand

VERBS = [
    *starting.VERBS,
    *looking.VERBS,
    *control.VERBS,
    *undoing.VERBS,
    *telling.VERBS,
    *checking.VERBS,
    *versions.VERBS,
]


class Command(PlainCommand):
    """Everything that can be done with runs from a shell."""

    help = "Start runs, look at them, control them, and check them against the code."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_verbs(parser, VERBS)

    def handle(self, *args: Any, **options: Any) -> None:
        answers = Answers(self.stdout, self.stderr, as_json=options["json"])
        with answering(answers):
            options["act"](answers, options)
