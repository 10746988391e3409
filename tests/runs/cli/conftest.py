"""People with their rights, and a command line that remembers what it answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command

from tests.runs.conftest import open_gate, own_registries

__all__ = ["open_gate", "own_registries"]


@dataclass(frozen=True)
class Answer:
    """What a command wrote and how it ended."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON value on standard output."""
        return json.loads(self.out)


Type = Callable[..., Answer]


@pytest.fixture
def type_() -> Type:
    """Type a line: ``type_("runs", "list", "--json")``."""

    def line(*words: str) -> Answer:
        out, err = StringIO(), StringIO()
        try:
            call_command(*words, stdout=out, stderr=err)
        except CommandError as error:
            return Answer(error.returncode, out.getvalue(), f"{err.getvalue()}{error}")
        return Answer(0, out.getvalue(), err.getvalue())

    return line


@pytest.fixture
def people() -> dict[str, User]:
    """omar operates, ana reviews, ada audits, gone has left."""
    rights = {
        "omar": ["start_run", "control_run", "send_message", "answer_question", "view_technical"],
        "ana": ["answer_question"],
        "ada": [],
        "gone": ["start_run", "control_run"],
    }
    made = {}
    for name, codenames in rights.items():
        made[name] = User.objects.create_user(name, is_active=name != "gone")
        made[name].user_permissions.set(
            Permission.objects.filter(codename__in=codenames, content_type__app_label="runs")
        )
    return made
