"""The base of our commands: what went wrong is told in a plain sentence, without the name of an error."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, SystemCheckError


class PlainCommand(BaseCommand):
    """A command that ends with one sentence on standard error, and an exit code, when it cannot do it.

    Called from code (`call_command`), or with ``--traceback``, it raises CommandError as any other does.
    """

    _typed = False

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django's: somebody typed this line."""
        self._typed = True
        super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django's; what goes wrong with a line that somebody typed is written here, and exits."""
        try:
            return super().execute(*args, **options)
        except SystemCheckError:
            raise  # Django writes it without a name
        except CommandError as error:
            if not self._typed or options["traceback"]:
                raise
            self.stderr.write(str(error))
            sys.exit(error.returncode)
