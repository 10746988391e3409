"""In whose name a command acts: a real, active person with the right to do it."""

from __future__ import annotations

from argparse import ArgumentParser

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from tools.cli.answers import Exit, no


def add_by(parser: ArgumentParser, *, required: bool = True) -> None:
    """The option ``--by``."""
    parser.add_argument("--by", required=required, metavar="USERNAME", help="in whose name")


def add_reason(parser: ArgumentParser) -> None:
    """The options of every verb that needs a reason, which is kept."""
    parser.add_argument("--reason", required=True, help="why; kept with what is done")
    add_by(parser)


def person(username: str) -> User:
    """The active user of that name. Raises CommandError (not found)."""
    user = get_user_model().objects.filter(username=username, is_active=True).first()
    if user is None:
        raise no(Exit.NOT_FOUND, f"There is no active user called {username}.")
    return user


def actor(username: str, permission: str, to: str) -> str:
    """The actor in whose name it is done. Raises CommandError when there is none, or they may not `to`."""
    if not person(username).has_perm(permission):
        sentence = f"{username} may not {to}; an administrator can give them the permission {permission}."
        raise no(Exit.REFUSED, sentence)
    return f"user:{username}"
