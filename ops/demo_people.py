"""Four people to try Holdpoint with; their passwords are random for each installation."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from ops.roles import ensure_roles

#: Letters and digits that nobody mistakes for another.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
PEOPLE = (
    ("ana", "Ana", "Reyes", "reviewers"),
    ("ben", "Ben", "Okafor", "reviewers"),
    ("omar", "Omar", "Lind", "operators"),
    ("ada", "Ada", "Novak", "auditors"),
)
#: Roles that may open the admin, which shows and never changes.
STAFF = {"operators", "auditors"}


@dataclass(frozen=True)
class SignIn:
    """What one demo person types."""

    username: str
    full_name: str
    role: str
    password: str


def ensure_demo_people(folder: Path) -> list[SignIn]:
    """Makes the people who are missing and returns all their sign-ins.

    The passwords are kept in `folder`, readable by its owner alone, so that they can be shown again.
    Somebody who exists is left as they are, with the password they have by now.
    """
    passwords = _passwords(folder / "sign-ins.json")
    with transaction.atomic():
        ensure_roles()
        return [_ensure(*person, password=passwords[person[0]]) for person in PEOPLE]


def _ensure(username: str, first: str, last: str, role: str, *, password: str) -> SignIn:
    users = get_user_model().objects
    if not users.filter(username=username).exists():
        user = users.create_user(
            username, password=password, first_name=first, last_name=last, is_staff=role in STAFF
        )
        user.groups.add(Group.objects.get(name=role))
    return SignIn(username, f"{first} {last}", role, password)


def _passwords(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}
    missing = [username for username, *_ in PEOPLE if not known.get(username)]
    if missing:
        known |= {username: _password() for username in missing}
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(known, file, indent=2)
        draft.replace(path)
    return dict(known)


def _password() -> str:
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))
