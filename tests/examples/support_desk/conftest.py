"""The demo's shop, in the database."""

import pytest

from examples.support_desk.demo_shop import DEMO_SHOP
from examples.support_desk.loading import put


@pytest.fixture
def shop(db: None) -> None:
    put(DEMO_SHOP)
