"""One ledger for all tests of a process, and the tools that ask it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Permission, User

from tests.ledger import judge, trade


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[judge.Ledger]:
    """The world outside, in a process of its own; each test asks about cases of its own."""
    with judge.running(tmp_path_factory.mktemp("ledger") / "book") as started:
        yield started


@pytest.fixture
def trading(ledger: judge.Ledger, installed_tools: None) -> Iterator[judge.Ledger]:
    """The ledger, and tools of all four effects that ask it."""
    with trade.declared():
        yield ledger


@pytest.fixture
def bea() -> User:
    """A person who decides."""
    person = User.objects.create_user("bea", password="x")
    person.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    return person
