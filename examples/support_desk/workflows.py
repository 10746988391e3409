"""What the support desk does: settle a customer's request, and decide on a refund."""

from __future__ import annotations

from typing import Any

from examples.support_desk.agents import refund_analyst, support_agent
from examples.support_desk.answers import (
    Answer,
    Recommendation,
    RefundCase,
    Resolution,
    Settled,
    SupportCase,
)
from examples.support_desk.money import SMALL
from examples.support_desk.refund_tools import (
    check_refund,
    get_payments,
    issue_refund,
    issue_small_refund,
    send_message,
)
from examples.support_desk.tools import get_order_details, get_user_details
from runs.context import Run
from runs.gate import Next, Rejected
from runs.workflow import Budget, workflow
from tools.failures import Refused


@workflow(
    "support.request",
    owner="Support",
    unit="one support request",
    budget=Budget(model_requests=60, tool_calls=60, cost_usd=2, days=14),
)
def request(run: Run, case: SupportCase) -> Settled:
    """Settle a customer's request with the shop's tools."""
    deps = {"shop": case.shop, "calls": [call.model_dump(mode="json") for call in case.calls]}
    prompt = {"request": case.request, "customer": case.customer_id}
    try:
        answer: Answer = run.agent(support_agent, prompt, deps=deps)
    except Rejected as verdict:
        return Settled(outcome="stopped", message=verdict.reason)
    return Settled(outcome="answered", message=answer.message, refused=answer.refused)


def claimant(case: RefundCase) -> str:
    """Of whom one refund goes on at a time: the customer, or one order where nobody said whose it is."""
    who = case.customer_id or case.order_id
    return f"{who} in {case.shop}" if case.shop else who


@workflow(
    "support.refund",
    owner="Support",
    unit="one refund request",
    budget=Budget(model_requests=20, tool_calls=40, cost_usd=2, days=14),
    at_most_per_key=1,
    limit_key=claimant,
)
def refund(run: Run, case: RefundCase) -> Resolution:
    """Look into a claim, pay back what is due, and tell the customer."""
    known = gather(run, case)
    if case.customer_id not in ("", known["order"]["user_id"]):
        return Resolution(outcome="declined", drafts=0, reason=f"{case.order_id} is somebody else's order.")
    rejected: list[str] = []
    feedback: str | None = None
    while True:
        draft: Recommendation = run.agent(refund_analyst, known | {"rejected": rejected}, feedback=feedback)
        drafts = len(rejected) + 1
        if not draft.amount:
            tell(run, case, known, draft.message)
            return Resolution(outcome="declined", drafts=drafts, reason=draft.reasoning)
        try:
            receipt = pay(run, case, draft)
        except Refused as no:
            return Resolution(outcome="declined", drafts=drafts, reason=no.reason)
        except Rejected as verdict:
            if verdict.next is not Next.SEND_BACK:
                return Resolution(outcome="declined", drafts=drafts, reason=verdict.reason)
            rejected, feedback = [*rejected, str(draft.amount)], verdict.reason
        else:
            tell(run, case, known, draft.message)
            return Resolution(outcome="refunded", drafts=drafts, receipt=receipt)


def gather(run: Run, case: RefundCase) -> dict[str, Any]:
    """What the records say about the claim."""
    order = run.tool(get_order_details, case.order_id, shop=case.shop)
    customer = run.tool(get_user_details, order["user_id"], shop=case.shop)
    payments = run.tool(get_payments, case.order_id, shop=case.shop)
    checks = run.tool(check_refund, case.order_id, shop=case.shop)
    claim = case.model_dump(mode="json", exclude={"shop", "customer_id"})
    return {"claim": claim, "order": order, "customer": customer, "payments": payments, "checks": checks}


def pay(run: Run, case: RefundCase, draft: Recommendation) -> Any:
    """Pay what the draft recommends: into the evening's batch if it is small, at once if it is not."""
    return run.tool(
        issue_small_refund if draft.amount <= SMALL else issue_refund,
        case.order_id,
        draft.amount,
        shop=case.shop,
        why=draft.reasoning,
        evidence=[citation.model_dump() for citation in draft.evidence],
        confidence=draft.confidence,
    )


def tell(run: Run, case: RefundCase, known: dict[str, Any], message: str) -> None:
    """Send the customer the message of the draft."""
    run.tool(send_message, known["order"]["user_id"], message, case.order_id, shop=case.shop)
