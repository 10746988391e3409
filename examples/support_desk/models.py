"""The shop behind the desk: customers, products, orders, their payments, what was written and what was sent.

`shop` is the scope of a record: empty for the live shop, else the name of an overlay. An overlay holds only
the records that were changed in it; whatever it does not hold is read from the live shop.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Any

from django.db import models
from django.db.models import Q

LIVE = ""


class OrderStatus(models.TextChoices):
    """How far an order is."""

    PENDING = "pending"  # nothing is packed yet: it can be changed or cancelled
    CHANGED = "pending (item modified)"  # its items were exchanged once; it cannot be changed again
    PROCESSED = "processed"  # packed
    DELIVERED = "delivered"  # it can be returned or exchanged
    CANCELLED = "cancelled"
    RETURNING = "return requested"
    EXCHANGING = "exchange requested"


class PaymentKind(models.TextChoices):
    """Which way the money went."""

    PAYMENT = "payment"
    REFUND = "refund"


class Amount(models.DecimalField):
    """US dollars and cents."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 12, "decimal_places": 2, **options})


class Customer(models.Model):
    """Somebody who buys here."""

    shop = models.CharField(max_length=80, default=LIVE, blank=True)
    number = models.CharField(max_length=80)
    first_name = models.CharField(max_length=80)
    last_name = models.CharField(max_length=80)
    email = models.CharField(max_length=200)
    address = models.JSONField()
    order_numbers = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["shop", "number"], name="customer_once_a_shop")]
        indexes = [models.Index(fields=["email"], name="customer_by_email")]

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name} ({self.number})"

    @cached_property
    def methods(self) -> dict[str, PaymentMethod]:
        """How this customer pays, by number."""
        return {method.number: method for method in self.method_rows.all()} if self.pk else {}


class PaymentMethod(models.Model):
    """A card, an account or a gift card of a customer. Only gift cards have a balance."""

    GIFT_CARD = "gift_card"

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="method_rows")
    number = models.CharField(max_length=80)
    source = models.CharField(max_length=40)
    brand = models.CharField(max_length=40, blank=True)
    last_four = models.CharField(max_length=4, blank=True)
    balance = Amount(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["customer", "number"], name="method_once_a_customer")]

    def __str__(self) -> str:
        return self.number

    @property
    def is_gift_card(self) -> bool:
        return self.source == self.GIFT_CARD

    def covers(self, amount: Decimal) -> bool:
        """Can `amount` be taken? Only a gift card can fall short."""
        return not self.is_gift_card or (self.balance or Decimal(0)) >= amount

    def add(self, amount: Decimal) -> None:
        """Put money back on a gift card, or take it when negative; other methods settle elsewhere."""
        if self.is_gift_card:
            self.balance = (self.balance or Decimal(0)) + amount


class Product(models.Model):
    """Something the shop sells, in variants."""

    number = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=200)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def variants(self) -> dict[str, Variant]:
        """What one can order, by item number."""
        return {variant.number: variant for variant in self.variant_rows.all()}


class Variant(models.Model):
    """One way to order a product: its options, its price, and whether it is there."""

    product = models.ForeignKey(Product, models.CASCADE, related_name="variant_rows")
    number = models.CharField(max_length=40)
    options = models.JSONField(default=dict)
    available = models.BooleanField()
    price = Amount()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["product", "number"], name="variant_once_a_product")]

    def __str__(self) -> str:
        return f"{self.product_id}/{self.number}"


class Order(models.Model):
    """What a customer bought at one time."""

    shop = models.CharField(max_length=80, default=LIVE, blank=True)
    number = models.CharField(max_length=40)
    customer_number = models.CharField(max_length=80)
    status = models.CharField(max_length=40, choices=OrderStatus)
    address = models.JSONField()
    fulfillments = models.JSONField(default=list)
    cancel_reason = models.CharField(max_length=200, blank=True)
    return_items = models.JSONField(null=True)
    return_payment_method = models.CharField(max_length=80, blank=True)
    exchange_items = models.JSONField(null=True)
    exchange_new_items = models.JSONField(null=True)
    exchange_payment_method = models.CharField(max_length=80, blank=True)
    exchange_price_difference = Amount(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["shop", "number"], name="order_once_a_shop")]
        indexes = [models.Index(fields=["customer_number"], name="order_by_customer")]

    def __str__(self) -> str:
        return f"{self.number} ({self.status})"

    @cached_property
    def items(self) -> list[Item]:
        """What was bought, in the order of the receipt."""
        return list(self.item_rows.all()) if self.pk else []

    @cached_property
    def ledger(self) -> list[Payment]:
        """Every payment and refund, oldest first."""
        return list(self.payment_rows.all()) if self.pk else []

    def book(self, kind: PaymentKind, amount: Decimal, method: str) -> None:
        """Add a line to the ledger; it is kept when the order is."""
        self.ledger.append(Payment(kind=kind, amount=amount, method=method, position=len(self.ledger)))

    @property
    def paid(self) -> Decimal:
        """Payments less refunds."""
        signs = {PaymentKind.PAYMENT: 1, PaymentKind.REFUND: -1}
        return sum((signs[PaymentKind(line.kind)] * line.amount for line in self.ledger), Decimal(0))


class Item(models.Model):
    """One piece on an order, with the price and the options at which it was bought."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="item_rows")
    position = models.PositiveIntegerField()
    number = models.CharField(max_length=40)
    product_number = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    price = Amount()
    options = models.JSONField(default=dict)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["order", "position"], name="item_once_a_place")]

    def __str__(self) -> str:
        return f"{self.name} {self.number}"


class Payment(models.Model):
    """One line of an order's ledger; lines are added and never changed."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="payment_rows")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=PaymentKind)
    amount = Amount()
    method = models.CharField(max_length=80)
    transaction = models.CharField(max_length=80)
    key = models.CharField(
        max_length=64, blank=True, help_text="Idempotency key of the write that booked it."
    )

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["order", "position"], name="payment_once_a_place"),
            models.UniqueConstraint(fields=["order", "transaction"], name="payment_once_a_transaction"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="payment_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} {self.transaction}"


class ShopWrite(models.Model):
    """A write that was done, by its idempotency key: the same key again gets the same answer."""

    key = models.CharField(primary_key=True, max_length=64)
    tool = models.CharField(max_length=100)
    shop = models.CharField(max_length=80, blank=True, db_index=True)
    arguments_digest = models.CharField(max_length=64)
    result = models.JSONField()
    done_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.tool} {self.key}"


class Message(models.Model):
    """A message that went out to a customer."""

    shop = models.CharField(max_length=80, default=LIVE, blank=True)
    customer_number = models.CharField(max_length=80)
    order_number = models.CharField(max_length=40, blank=True)
    text = models.TextField()
    key = models.CharField(max_length=64, unique=True)
    sent_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["customer_number"], name="message_by_customer")]

    def __str__(self) -> str:
        return f"to {self.customer_number}: {self.text[:40]}"
