"""What the desk's agents answer, and what its workflows take and give."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from examples.support_desk.cases import PlannedCall
from examples.support_desk.models import LIVE
from examples.support_desk.refund_tools import Refund
from tools.contract import Money


class Shape(BaseModel):
    """Nothing but the named fields."""

    model_config = ConfigDict(extra="forbid")


# --- Support requests ------------------------------------------------------------------------------


class SupportCase(Shape):
    """A customer's wish in words. `calls` are for the script that plays the model where none is live."""

    customer_id: str = ""
    request: str = Field(min_length=1)
    shop: str = Field(
        default=LIVE, max_length=80, description="The overlay to work in; empty: the live shop."
    )
    calls: list[PlannedCall] = Field(default_factory=list)


class Answer(Shape):
    """How a support request was settled, and what the customer is told."""

    message: str
    refused: list[str] = Field(default_factory=list, description="What the shop or a reviewer said no to.")


class Settled(Shape):
    """What came of a support request."""

    outcome: Literal["answered", "stopped"]
    message: str
    refused: list[str] = Field(default_factory=list)


# --- Refunds ---------------------------------------------------------------------------------------


class RefundCase(Shape):
    """A customer's claim about the items `item_ids`; `asked` is what they want back, in US dollars."""

    customer_id: str = Field(default="", description="Who claims; one refund of theirs goes on at a time.")
    order_id: str
    claim: str = Field(min_length=1)
    item_ids: list[str] = Field(min_length=1)
    asked: Money
    shop: str = Field(
        default=LIVE, max_length=80, description="The overlay to work in; empty: the live shop."
    )


class Citation(Shape):
    """Where something stands: a passage of the policy, or a record."""

    source: str
    text: str


class Recommendation(Shape):
    """An analyst's draft: how much to pay back, why, and what to tell the customer."""

    order_id: str
    amount: Money
    reasoning: str
    evidence: list[Citation]
    confidence: float = Field(ge=0, le=1)
    message: str


class Resolution(Shape):
    """How a refund case ended."""

    outcome: Literal["refunded", "declined"]
    drafts: int = Field(description="How many drafts it took.")
    receipt: Refund | None = None
    reason: str = ""
