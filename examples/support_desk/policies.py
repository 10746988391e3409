"""Who signs what at the support desk. Amounts are US dollars; the admin changes them, as new versions."""

from __future__ import annotations

from decimal import Decimal

from approvals.declared import Amount, policy
from examples.support_desk.money import SMALL
from runs.gate import Next

LARGE = Decimal("500.00")

REFUNDS = ("issue_refund", "issue_small_refund")
# What pays money back, or promises to.
PAY_BACK = ("cancel_pending_order", "return_delivered_order_items")
CHANGES = (
    "modify_pending_order_address",
    "modify_pending_order_payment",
    "modify_pending_order_items",
    "exchange_delivered_order_items",
    "modify_user_address",
)

policy(
    "refunds-suspicious",
    tier="review",
    tools=REFUNDS,
    suspicious=True,
    on_expiry=Next.STOP,
    order=10,
    purpose="Something about the order or the customer is unusual: a person looks, whatever the amount.",
)
policy(
    "refunds-small",
    tier="auto",
    tools=["issue_small_refund"],
    effects=["write"],
    amount=Amount(currency="USD", at_most=SMALL),
    suspicious=False,
    order=20,
    purpose="Small refunds wait in the evening's batch, out of which they can still be taken.",
)
policy(
    "refunds",
    tier="review",
    tools=REFUNDS,
    on_expiry=Next.STOP,
    order=30,
    purpose="Every other refund is paid at once and for good: a person signs.",
)
policy(
    "pay-back-large",
    tier="review",
    tools=PAY_BACK,
    amount=Amount(currency="USD", more_than=LARGE),
    on_expiry=Next.STOP,
    order=40,
    purpose="Cancellations and returns above the amount need a person.",
)
policy(
    "pay-back",
    tier="auto",
    tools=PAY_BACK,
    effects=["write"],
    amount=Amount(currency="USD", at_most=LARGE),
    order=50,
    purpose="Cancellations and returns up to the amount are done at once.",
)
policy(
    "shop-changes",
    tier="auto",
    tools=CHANGES,
    effects=["write"],
    order=60,
    purpose="Addresses, payment methods and variants can be changed again.",
)
