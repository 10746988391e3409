"""Looking customers and products up, and changing where a customer lives."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import QuerySet

from examples.support_desk.desk import Desk
from examples.support_desk.models import LIVE, Customer, Product
from examples.support_desk.records import Address
from tools.failures import Refused


def by_email(desk: Desk, email: str) -> Customer:
    """The customer with exactly this e-mail address. Raises Refused when there is none."""
    rows = Customer.objects.filter(email=email)
    return _first(desk, rows, lambda who: who.email == email, f"with the e-mail address {email}")


def by_name_and_zip(desk: Desk, first_name: str, last_name: str, zip_code: str) -> Customer:
    """The customer of this name, in capitals or not, at this zip. Raises Refused when there is none."""
    wanted = (first_name.casefold(), last_name.casefold(), zip_code)

    def fits(who: Customer) -> bool:
        return (who.first_name.casefold(), who.last_name.casefold(), who.address["zip"]) == wanted

    rows = Customer.objects.filter(address__zip=zip_code)
    return _first(desk, rows, fits, f"called {first_name} {last_name} at zip {zip_code}")


def change_address(desk: Desk, user_id: str, address: Address) -> Customer:
    """Replace a customer's address."""
    customer = desk.customer(user_id)
    customer.address = dict(address)
    return customer


def product_types() -> dict[str, str]:
    """Every product's number by its name, sorted by name."""
    names = dict(Product.objects.values_list("name", "number"))
    return {name: names[name] for name in sorted(names)}


def _first(desk: Desk, rows: QuerySet[Customer], fits: Callable[[Customer], bool], whom: str) -> Customer:
    # A live record may fit that the overlay has changed, so each number is looked at as the desk has it.
    for number in dict.fromkeys(
        rows.filter(shop__in={LIVE, desk.shop}).order_by("id").values_list("number", flat=True)
    ):
        customer = desk.customer(number)
        if fits(customer):
            return customer
    raise Refused(f"There is no customer {whom}. Ask the customer again, or look them up another way.")
