"""A desk changes a shop only when it is kept, and an overlay never changes the live shop."""

from decimal import Decimal

import pytest

from examples.support_desk import customers, money, orders
from examples.support_desk.comparison import changed_records
from examples.support_desk.desk import Desk
from examples.support_desk.models import LIVE, Customer, Order
from examples.support_desk.records import Address
from tools.failures import Refused

HOME = Address(address1="1 New Street", address2="", city="Boston", state="MA", country="USA", zip="02108")

pytestmark = pytest.mark.usefixtures("shop")


class TestKeep:
    def test_it_works(self) -> None:
        desk = Desk()
        orders.cancel(desk, "#H1002", "no longer needed")
        desk.keep("k1")

        order = Desk().order("#H1002")
        assert order.status == "cancelled"
        assert order.ledger[1].key == "k1"
        assert order.ledger[1].transaction.startswith("txn_")
        assert Desk().customer("maya_lind").methods["gift_card_0007"].balance == Decimal("79.90")

    def test_nothing_changes_without_it(self) -> None:
        orders.cancel(Desk(), "#H1002", "no longer needed")

        assert Desk().order("#H1002").status == "pending"

    def test_an_overlay_holds_only_what_changed_in_it(self) -> None:
        desk = Desk("a-case")
        orders.cancel(desk, "#H1008", "no longer needed")
        desk.customer("maya_lind")
        desk.keep("k1")

        assert [order.number for order in Order.objects.filter(shop="a-case")] == ["#H1008"]
        assert not Customer.objects.filter(shop="a-case").exists()
        assert Desk("a-case").order("#H1008").status == "cancelled"
        assert Desk("another").order("#H1008").status == Desk(LIVE).order("#H1008").status == "pending"

    def test_an_overlay_s_own_record_is_changed_in_place(self) -> None:
        for key, address in (("k1", HOME), ("k2", {**HOME, "zip": "02109"})):
            desk = Desk("a-case")
            orders.change_address(desk, "#H1008", address)
            desk.keep(key)

        assert Order.objects.filter(number="#H1008").count() == 2
        assert Desk("a-case").order("#H1008").address["zip"] == "02109"

    def test_changed_records_are_those_that_differ_from_the_live_shop(self) -> None:
        for zip_code in ("02108", "04101"):
            desk = Desk("a-case")
            customers.change_address(
                desk, "maya_lind", HOME if zip_code == "02108" else Desk().customer("maya_lind").address
            )
            desk.keep(zip_code)

        assert changed_records("a-case") == ({}, {})


class TestLookingUp:
    def test_by_email(self) -> None:
        assert customers.by_email(Desk(), "maya.lind@example.com").number == "maya_lind"
        with pytest.raises(Refused, match="e-mail"):
            customers.by_email(Desk(), "Maya.Lind@example.com")

    def test_by_name_in_capitals_or_not(self) -> None:
        assert customers.by_name_and_zip(Desk(), "MAYA", "lind", "04101").number == "maya_lind"
        with pytest.raises(Refused, match="zip 04102"):
            customers.by_name_and_zip(Desk(), "Maya", "Lind", "04102")

    def test_an_overlay_hides_where_the_customer_lived(self) -> None:
        desk = Desk("a-case")
        customers.change_address(desk, "maya_lind", HOME)
        desk.keep("k1")

        assert customers.by_name_and_zip(Desk("a-case"), "Maya", "Lind", "02108").number == "maya_lind"
        with pytest.raises(Refused):
            customers.by_name_and_zip(Desk("a-case"), "Maya", "Lind", "04101")


class TestRefund:
    def test_it_works(self) -> None:
        desk = Desk()
        money.refund(desk, "#H1001", Decimal("18.40"))
        desk.keep("k1")

        receipt = money.receipt(Desk().order("#H1001"))
        assert receipt["amount"] == "18.40"
        assert receipt["transaction_id"].startswith("txn_")

    @pytest.mark.parametrize("amount", ["0", "-1", "0.001", "36.81"])
    def test_it_refuses(self, amount: str) -> None:
        with pytest.raises(Refused):
            money.refund(Desk(), "#H1001", Decimal(amount))

    def test_it_never_pays_back_more_than_was_paid(self) -> None:
        with pytest.raises(Refused, match="0.00 USD left"):
            money.refund(Desk(), "#H1004", Decimal("0.01"))

    def test_what_makes_one_look_twice(self) -> None:
        assert all(money.doubts(Desk(), "#H1001").values())
        assert list(money.doubts(Desk(), "#H1006").values()) == [False, True, False, True]


class TestCalculate:
    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("0.1 + 0.2", "0.30"),
            ("2 * (3 - 4.5) / -2", "1.50"),
            (" 10 / 3", "3.33"),
            ("164.28", "164.28"),
        ],
    )
    def test_it_works(self, expression: str, value: str) -> None:
        assert money.calculate(expression) == Decimal(value)

    @pytest.mark.parametrize(
        "expression", ["", "1 +", "1/0", "9**9**9", "7//2", "abs(1)", "1,5", "()", "(" * 200]
    )
    def test_it_refuses(self, expression: str) -> None:
        with pytest.raises(Refused):
            money.calculate(expression)
