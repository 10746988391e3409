"""Tools declared in a test are forgotten when it ends."""

from collections.abc import Iterator

import pytest

from tools import registry


@pytest.fixture(autouse=True)
def forgotten_tools() -> Iterator[None]:
    with registry.scratch():
        yield
