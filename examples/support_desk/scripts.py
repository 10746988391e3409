"""What plays the desk's agents where no live model is set: no judgement, the same calls every time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from examples.support_desk.answers import Answer, Citation, Recommendation
from runs.agents.script import CallTool, Conversation, Finish
from tools.contract import cents

_SAID_NO = ("failed", "denied", "retried")


def play_calls(conversation: Conversation) -> CallTool | Finish:
    """The support agent: one call of the case after the other, then an answer that says what was refused."""
    calls = conversation.deps["calls"]
    if conversation.turn <= len(calls):
        planned = calls[conversation.turn - 1]
        return CallTool(
            planned["tool"], planned["arguments"], why=f"Step {conversation.turn} of {len(calls)}."
        )
    refused = [
        f"{result.tool}: {result.content}" for result in conversation.results if result.outcome in _SAID_NO
    ]
    message = "Your request is settled." if not refused else "We could not do everything that you asked for."
    return Finish(Answer(message=message, refused=refused))


def look_into_refund(conversation: Conversation) -> CallTool | Finish:
    """The refund analyst: read the policy, then recommend; after a rejection, less."""
    if conversation.turn == 1:
        return CallTool("get_refund_policy", why="A recommendation must rest on the shop's policy.")
    passages = {
        passage["number"]: passage for passage in conversation.results_of("get_refund_policy")[0].content
    }
    return Finish(_recommend(conversation.input, conversation.feedback, passages))


def _recommend(brief: dict[str, Any], feedback: str | None, passages: dict[str, Any]) -> Recommendation:
    amount, number, because = _next_amount(brief)
    doubts = [label for label, ok in brief["checks"].items() if not ok]
    cited = [number, "1.1", "1.2", *(["3.2"] if doubts else [])]
    evidence = [
        Citation(source=f"refund policy {each}", text=passages[each]["text"]) for each in dict.fromkeys(cited)
    ]
    evidence += [
        Citation(source=f"payment {line['transaction_id']}", text=f"{line['kind']} of {line['amount']} USD")
        for line in brief["payments"]
    ]
    heard = f" A reviewer asked for another draft: {feedback}" if feedback else ""
    unsure = f" Not as it should be: {'; '.join(doubts)}." if doubts else ""
    return Recommendation(
        order_id=brief["order"]["order_id"],
        amount=amount,
        reasoning=f"{because}{heard}{unsure}",
        evidence=evidence,
        confidence=0.55 if doubts else 0.9 if not feedback else 0.8,
        message=_message(brief, amount),
    )


def _next_amount(brief: dict[str, Any]) -> tuple[Decimal, str, str]:
    """The amount to recommend, and the passage it rests on: what was asked, then less each time."""
    affected = [item for item in brief["order"]["items"] if item["item_id"] in brief["claim"]["item_ids"]]
    price = sum((Decimal(item["price"]) for item in affected), Decimal(0))
    names = ", ".join(item["name"] for item in affected)
    asked = Decimal(brief["claim"]["asked"])
    ladder = [
        (asked, "1.1", f"The customer asks for {asked} USD: {brief['claim']['claim']}"),
        (price, "1.3", f"Only {names} is affected, so only its price of {price} USD is refunded."),
        (cents(price / 10), "3.1", f"As goodwill, a tenth of the price of {names}."),
    ]
    limit = min([*map(Decimal, brief["rejected"]), asked + 1])
    left = [step for step in ladder if step[0] < limit]
    return (
        left[0] if left else (Decimal("0.00"), "1.2", "Nothing less than what was rejected is left to offer.")
    )


def _message(brief: dict[str, Any], amount: Decimal) -> str:
    name, order = brief["customer"]["name"]["first_name"], brief["order"]["order_id"]
    if not amount:
        return f"Dear {name}, we have looked into order {order} and cannot pay anything back."
    return f"Dear {name}, we are sorry about order {order}. We pay {amount} US dollars back the way you paid."
