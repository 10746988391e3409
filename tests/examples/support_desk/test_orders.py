"""The shop's rules for orders, on a desk of the demo's shop."""

from decimal import Decimal

import pytest

from examples.support_desk import orders
from examples.support_desk.desk import Desk
from examples.support_desk.models import Order
from examples.support_desk.records import Address
from tools.failures import Refused

HOME = Address(address1="1 New Street", address2="", city="Boston", state="MA", country="USA", zip="02108")

pytestmark = pytest.mark.usefixtures("shop")


@pytest.fixture
def desk() -> Desk:
    return Desk("a-case")


def lines(order: Order) -> list[tuple[str, Decimal, str]]:
    return [(line.kind, line.amount, line.method) for line in order.ledger]


class TestCancel:
    def test_it_works(self, desk: Desk) -> None:
        order = orders.cancel(desk, "#H1008", "no longer needed")

        assert order.status == "cancelled"
        assert lines(order)[1] == ("refund", Decimal("489.00"), "credit_card_7713")

    def test_it_puts_the_money_back_on_a_gift_card_at_once(self, desk: Desk) -> None:
        orders.cancel(desk, "#H1002", "ordered by mistake")

        assert desk.customer("maya_lind").methods["gift_card_0007"].balance == Decimal("79.90")

    def test_it_pays_back_only_once_what_changed_its_method_before(self, desk: Desk) -> None:
        orders.change_payment(desk, "#H1002", "credit_card_4410")
        order = orders.cancel(desk, "#H1002", "no longer needed")

        assert lines(order)[3:] == [("refund", Decimal("64.90"), "credit_card_4410")]
        assert desk.customer("maya_lind").methods["gift_card_0007"].balance == Decimal("79.90")

    def test_it_refuses_another_reason(self, desk: Desk) -> None:
        with pytest.raises(Refused, match="no longer needed or ordered by mistake"):
            orders.cancel(desk, "#H1008", "changed my mind")

    def test_it_refuses_what_is_not_pending(self, desk: Desk) -> None:
        with pytest.raises(Refused, match="#H1003 is delivered"):
            orders.cancel(desk, "#H1003", "no longer needed")

    def test_it_refuses_an_order_that_is_not_there(self, desk: Desk) -> None:
        with pytest.raises(Refused, match="no order #H9"):
            orders.cancel(desk, "#H9", "no longer needed")


class TestChangeAddress:
    def test_it_works(self, desk: Desk) -> None:
        assert orders.change_address(desk, "#H1008", HOME).address == HOME

    def test_it_refuses_what_is_not_pending(self, desk: Desk) -> None:
        with pytest.raises(Refused, match="delivered"):
            orders.change_address(desk, "#H1001", HOME)


class TestChangePayment:
    def test_it_works(self, desk: Desk) -> None:
        order = orders.change_payment(desk, "#H1002", "credit_card_4410")

        assert lines(order)[1:] == [
            ("payment", Decimal("64.90"), "credit_card_4410"),
            ("refund", Decimal("64.90"), "gift_card_0007"),
        ]
        assert desk.customer("maya_lind").methods["gift_card_0007"].balance == Decimal("79.90")

    @pytest.mark.parametrize(
        ("order", "method", "why"),
        [
            ("#H1008", "credit_card_7713", "already"),
            ("#H1008", "gift_card_0042", "holds 80.00"),
            ("#H1008", "credit_card_4410", "not a payment method of nadir_hale"),
            ("#H1001", "gift_card_0007", "delivered"),
        ],
    )
    def test_it_refuses(self, desk: Desk, order: str, method: str, why: str) -> None:
        with pytest.raises(Refused, match=why):
            orders.change_payment(desk, order, method)

    def test_it_refuses_a_second_change(self, desk: Desk) -> None:
        orders.change_payment(desk, "#H1002", "credit_card_4410")
        with pytest.raises(Refused, match="exactly one payment"):
            orders.change_payment(desk, "#H1002", "gift_card_0007")


class TestChangeItems:
    def test_it_works(self, desk: Desk) -> None:
        order = orders.change_items(desk, "#H1008", ["p-chair-grey"], ["p-chair-green"], "gift_card_0042")

        assert order.status == "pending (item modified)"
        assert [(item.number, item.price) for item in order.items] == [("p-chair-green", Decimal("499.00"))]
        assert lines(order)[1] == ("payment", Decimal("10.00"), "gift_card_0042")
        assert desk.customer("nadir_hale").methods["gift_card_0042"].balance == Decimal("70.00")

    def test_it_can_be_done_once(self, desk: Desk) -> None:
        orders.change_items(desk, "#H1008", ["p-chair-grey"], ["p-chair-green"], "credit_card_7713")
        with pytest.raises(Refused, match="item modified"):
            orders.change_items(desk, "#H1008", ["p-chair-green"], ["p-chair-grey"], "credit_card_7713")

    @pytest.mark.parametrize(
        ("old", "new", "why"),
        [
            (["p-lamp-black"], ["p-lamp-brass"], "not available"),
            (["p-lamp-black"], ["p-cup-blue"], "no variant"),
            (["p-lamp-black", "p-lamp-black"], ["p-lamp-black"] * 2, "1 times, not 2"),
            (["p-lamp-black"], ["p-lamp-black"] * 2, "cannot be replaced"),
            (["p-cup-blue"], ["p-cup-sand"], "0 times"),
            ([], [], "No item"),
        ],
    )
    def test_it_refuses(self, desk: Desk, old: list[str], new: list[str], why: str) -> None:
        with pytest.raises(Refused, match=why):
            orders.change_items(desk, "#H1002", old, new, "credit_card_4410")
        assert desk.changes() == []

    def test_it_refuses_a_gift_card_that_falls_short(self, desk: Desk) -> None:
        orders.cancel(desk, "#H1002", "no longer needed")
        desk.customer("nadir_hale").methods["gift_card_0042"].balance = Decimal("9.99")
        with pytest.raises(Refused, match="holds 9.99, the difference is 10.00"):
            orders.change_items(desk, "#H1008", ["p-chair-grey"], ["p-chair-green"], "gift_card_0042")


class TestReturnItems:
    def test_it_works(self, desk: Desk) -> None:
        order = orders.return_items(desk, "#H1001", ["p-cup-sand", "p-cup-blue"], "gift_card_0007")

        assert order.status == "return requested"
        assert order.return_items == ["p-cup-blue", "p-cup-sand"]
        assert len(order.ledger) == 1  # the money moves when the items are back

    @pytest.mark.parametrize(
        ("order", "items", "method", "why"),
        [
            ("#H1002", ["p-lamp-black"], "gift_card_0007", "pending"),
            ("#H1001", ["p-lamp-black"], "gift_card_0007", "0 times"),
            ("#H1007", ["p-lamp-black"], "credit_card_4410", "not a payment method"),
        ],
    )
    def test_it_refuses(self, desk: Desk, order: str, items: list[str], method: str, why: str) -> None:
        with pytest.raises(Refused, match=why):
            orders.return_items(desk, order, items, method)


class TestExchangeItems:
    def test_it_works(self, desk: Desk) -> None:
        order = orders.exchange_items(desk, "#H1003", ["p-chair-grey"], ["p-chair-green"], "credit_card_9921")

        assert order.status == "exchange requested"
        assert order.exchange_price_difference == Decimal("10.00")
        assert (order.exchange_items, order.exchange_new_items) == (["p-chair-grey"], ["p-chair-green"])
        assert len(order.ledger) == 1

    def test_it_refuses_what_was_not_delivered(self, desk: Desk) -> None:
        with pytest.raises(Refused, match="pending"):
            orders.exchange_items(desk, "#H1008", ["p-chair-grey"], ["p-chair-green"], "credit_card_7713")
