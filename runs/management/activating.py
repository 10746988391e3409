"""``manage.py runs activate`` and ``retire``: which versions of workflows start runs, on whose word."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from runs import services, workflow
from runs.models import WorkflowVersion

NOT_FOUND, REFUSED = 4, 5
VERBS: dict[str, tuple[Callable[..., WorkflowVersion], str]] = {
    "activate": (services.activate_version, "let a version of a workflow start runs"),
    "retire": (services.retire_version, "let a version of a workflow start no more runs"),
}


def add_verbs(verbs: Any) -> list[ArgumentParser]:
    """The parsers of both verbs, below `verbs`; ``--by`` and ``--json`` are theirs too."""
    return [_verb(verbs, name, said) for name, (_, said) in VERBS.items()]


def _verb(verbs: Any, name: str, said: str) -> ArgumentParser:
    parser: ArgumentParser = verbs.add_parser(name, help=said)
    parser.add_argument("workflow", help="its name; `runs workflows` lists them")
    parser.add_argument("version", type=int)
    parser.add_argument("--reason", required=True, help="why; kept with the version")
    parser.add_argument("--by", required=True, metavar="USERNAME", help="who says so")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def change(verb: str, options: dict[str, Any], actor: str) -> str:
    """Do it in the name of `actor`; what to print. Raises CommandError."""
    act, _ = VERBS[verb]
    try:
        row = act(options["workflow"], options["version"], actor=actor, reason=options["reason"])
    except workflow.UnknownWorkflow as error:
        raise CommandError(str(error), returncode=NOT_FOUND) from error
    except services.NotPossible as error:
        raise CommandError(str(error), returncode=REFUSED) from error
    if options["json"]:
        return json.dumps(described(row))
    return f"{row.name} version {row.version} is {row.state}."


def described(row: WorkflowVersion) -> dict[str, Any]:
    """The version as JSON."""
    at = row.activated_at.isoformat() if row.activated_at else None
    told = {"name": row.name, "version": row.version, "state": row.state, "code": row.code}
    return told | {"by": row.activated_by, "at": at, "reason": row.note}
