"""Two tools at the same record at once: the second has waited, and works on what the first one left."""

from __future__ import annotations

import pytest
from django.db import transaction

from examples.support_desk import orders
from examples.support_desk.demo_shop import DEMO_SHOP
from examples.support_desk.desk import Desk
from examples.support_desk.loading import put
from tests.examples.support_desk.test_orders import HOME
from tests.in_turn import against

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]
CASE = "a-case"


def test_the_overlays_copy_that_another_tool_has_just_made_is_found() -> None:
    put(DEMO_SHOP)

    def move() -> None:
        desk = Desk(CASE, lock=True)
        orders.change_address(desk, "#H1002", HOME)
        desk.keep("one")

    def pay_otherwise() -> None:
        with transaction.atomic():
            desk = Desk(CASE, lock=True)
            orders.change_payment(desk, "#H1002", "credit_card_4410")
            desk.keep("two")

    against(move, pay_otherwise)
    order = Desk(CASE).order("#H1002")
    assert order.address == HOME
    assert any(line.method == "credit_card_4410" for line in order.ledger)
