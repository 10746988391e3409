"""Parameters that many of the desk's tools share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

# Which shop a call acts in is bound by the workflow: no model is asked for it.
Shop = Annotated[
    str, Field(max_length=80, description="The overlay of the shop to act in; empty for the live shop.")
]
OrderId = Annotated[str, Field(description="The order's number with its #, such as #W0000000.")]
ItemIds = Annotated[list[str], Field(description="Item numbers, each as often as it is meant.")]
MethodId = Annotated[
    str, Field(description="One of the customer's payment methods, such as gift_card_0000000.")
]
