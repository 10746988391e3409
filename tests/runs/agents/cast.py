"""The agents and tools of these tests: a small shop, and a script that works in it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from runs.agent import AgentDefinition, Limits
from runs.agents.script import Answer, CallTool, Conversation, Finish
from tools.contract import IdempotencyKey, Tool
from tools.failures import PermissionNeeded, Refused


class Recommendation(BaseModel):
    """What the analyst answers."""

    order_id: str
    amount: float = Field(gt=0)
    reasoning: str = ""
    evidence: list[str] = []
    confidence: float | None = None


def _get_order(order_id: str) -> dict[str, Any]:
    """Look an order up."""
    return {"order_id": order_id, "total": 40.5}


def _get_payments(order_id: str) -> list[float]:
    """Look the payments of an order up."""
    return [40.5]


def _refund(order_id: str, amount: float, *, key: IdempotencyKey) -> str:
    """Pay money back."""
    if amount > 1000:
        raise Refused("more than was paid")
    return f"refunded {amount} on {order_id}"


def _message(text: str, *, key: IdempotencyKey) -> str:
    """Write to the customer."""
    return "sent"


def _broken(order_id: str) -> str:
    """Ask a service that lets nobody in."""
    raise PermissionNeeded("no key")


get_order = Tool(_get_order, effect="read", name="get_order")
get_payments = Tool(_get_payments, effect="read", name="get_payments")
refund = Tool(_refund, effect="irreversible", name="refund")
message = Tool(_message, effect="write", name="message")
broken = Tool(_broken, effect="read", name="broken")
SHOP = (get_order, get_payments, refund, message, broken)


def analyst(
    script: Any, *, output: Any = Recommendation, limits: Limits | None = None, **more: Any
) -> AgentDefinition:
    """An agent played by this script."""
    return AgentDefinition(
        "analyst", 1, output, SHOP, "Decide what to do.", script=script, limits=limits or Limits(), **more
    )


def by_turn(*answers: Answer) -> Any:
    """A script with a fixed answer for each turn; `.seen` is what it was shown."""
    seen: list[Conversation] = []

    def script(conversation: Conversation) -> Answer:
        seen.append(conversation)
        return answers[conversation.turn - 1]

    script.seen = seen  # type: ignore[attr-defined]
    return script


LOOK_UP = [CallTool(get_order, {"order_id": "W1"}), CallTool(get_payments, {"order_id": "W1"})]
PROPOSE = [
    CallTool(refund, {"order_id": "W1", "amount": 40.5}, why="The parcel never arrived."),
    CallTool(message, {"text": "Your money is on its way."}),
]
DONE = Finish(
    Recommendation(order_id="W1", amount=40.5, reasoning="Lost.", evidence=["order W1"], confidence=0.9)
)
