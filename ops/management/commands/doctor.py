"""``manage.py doctor``: what is well and what is not, each with its cure.

Exit codes: 0 nothing is wrong, 1 something is.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from ops.doctor import Level, examine
from tools.command import PlainCommand


class Command(PlainCommand):
    """Looks at everything that runs need; changes nothing."""

    help = "Tell what is well and what is not, each with its cure."
    requires_system_checks = ()  # what they complain about is found here, with a cure

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="the findings as one JSON array")

    def handle(self, *args: Any, **options: Any) -> None:
        findings = []
        for finding in examine():
            findings.append(finding)
            if not options["json"]:
                self.stdout.write(f"{finding.level:<8} {finding.subject}: {finding.what}")
                if finding.cure:
                    self.stdout.write(f"{'':8} {finding.cure}")
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2))
        wrong = sum(finding.level is Level.BAD for finding in findings)
        if wrong:
            raise CommandError(f"{wrong} thing{'' if wrong == 1 else 's'} must be put right.", returncode=1)
