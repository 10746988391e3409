"""Which versions of workflows start runs, on whose word."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from typing import Any

from runs import services
from runs.actors import user
from runs.cli import people
from runs.cli.answers import Answers, Verb
from runs.models import WorkflowVersion


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("workflow", help="its name; `runs workflows` lists them")
    parser.add_argument("version", type=int)
    parser.add_argument("--reason", required=True, help="why; kept with the version")
    people.add_by(parser)


def _change(act: Callable[..., WorkflowVersion], answers: Answers, options: dict[str, Any]) -> None:
    # The verb itself asks for the right: no machine may do this, whoever calls it.
    actor = user(people.person(options["by"]).get_username())
    row = act(options["workflow"], options["version"], actor=actor, reason=options["reason"])
    answers.give(described(row), f"{row.name} version {row.version} is {row.state}.")


def described(row: WorkflowVersion) -> dict[str, Any]:
    """The version as JSON."""
    at = row.activated_at.isoformat() if row.activated_at else None
    told = {"name": row.name, "version": row.version, "state": row.state, "code": row.code}
    return told | {"by": row.activated_by, "at": at, "reason": row.note}


VERBS = [
    Verb(
        "activate",
        "let a version of a workflow start runs",
        _arguments,
        partial(_change, services.activate_version),
    ),
    Verb(
        "retire",
        "let a version of a workflow start no more runs",
        _arguments,
        partial(_change, services.retire_version),
    ),
]
