"""`manage.py worker`: one worker on the queues that are named, until SIGTERM or Ctrl-C."""

import argparse
import os
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from ops import health
from ops.launch.processes import PROJECT
from ops.launch.workers import OF_TURNS, command_of, environment_of, keeping_bytecode
from tools.command import PlainCommand
from tools.contract import QUEUE

THREADS, CHILDREN = 8, 1


def queue_name(text: str) -> str:
    """A name that a queue may have."""
    if not QUEUE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a queue; name each by itself.")
    return text


def how_many(text: str) -> int:
    """A number of threads or children."""
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to 1000.")
    return int(text)


class Command(PlainCommand):
    """Becomes a worker: signals reach it, and its exit code is its own."""

    help = "Starts a worker that takes what waits in these queues, until SIGTERM or Ctrl-C."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("queues", nargs="+", type=queue_name, metavar="QUEUE", help="runs, tools, …")
        parser.add_argument(
            "--pool",
            choices=("threads", "prefork"),
            help="threads, or children that can be killed (threads for runs, agents and caretakers alone)",
        )
        parser.add_argument(
            "--concurrency", type=how_many, help=f"how many of them ({THREADS} threads, {CHILDREN} child)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Never returns. Exits with 1 when the private broker does not run, with 2 for no name of a queue."""
        if not settings.REDIS_URL and not health.broker_answers():
            raise CommandError(
                "No broker answers here: start python3 manage.py up, or set REDIS_URL to one that runs."
            )
        queues = list(dict.fromkeys(options["queues"]))
        pool = options["pool"] or ("threads" if OF_TURNS.issuperset(queues) else "prefork")
        concurrency = options["concurrency"] or (THREADS if pool == "threads" else CHILDREN)
        each = f"{concurrency} {'threads' if pool == 'threads' else 'killable children'}"
        self.stdout.write(f"A worker starts on {', '.join(queues)}, with {each}. Ctrl-C ends it.")
        self.stdout.flush()
        command = command_of(f"{queues[0]}-{os.getpid()}", queues, concurrency, pool)
        os.chdir(PROJECT)
        os.execve(command[0], command, keeping_bytecode({**os.environ, **environment_of(pool)}))
