"""The shop's policy on refunds, in numbered passages that a draft can cite."""

from __future__ import annotations

from typing_extensions import TypedDict


class Passage(TypedDict):
    """One numbered passage of the policy."""

    number: str
    title: str
    text: str


REFUND_POLICY: list[Passage] = [
    Passage(
        number="1.1",
        title="What is refunded",
        text="Goods that arrived damaged, incomplete or not as described are refunded at the price paid.",
    ),
    Passage(
        number="1.2",
        title="How much",
        text="A refund never exceeds what was paid for the order less what was paid back already.",
    ),
    Passage(
        number="1.3",
        title="Part of an order",
        text="Where only some items are affected, only their price is refunded, not the whole order.",
    ),
    Passage(
        number="2.1",
        title="Where it goes",
        text="Money goes back the way it came. A customer cannot choose another card for it.",
    ),
    Passage(
        number="2.2",
        title="Small amounts",
        text="Refunds of up to 50 US dollars are paid in the evening's batch and can be stopped until then.",
    ),
    Passage(
        number="3.1",
        title="Goodwill",
        text="For a late parcel, up to 10 per cent of the price of the items in it may be paid as goodwill.",
    ),
    Passage(
        number="3.2",
        title="What makes us look twice",
        text="A person decides after two refunded orders, at a strange address, or on a second refund.",
    ),
]
