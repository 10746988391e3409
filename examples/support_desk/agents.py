"""Who works at the support desk: an agent that settles requests, and one that looks into refunds."""

from __future__ import annotations

from typing import Any

from examples.support_desk import scripts, tools
from examples.support_desk.answers import Answer, Recommendation
from examples.support_desk.refund_tools import get_refund_policy
from runs.agent import Limits, agent


def in_shop(deps: Any) -> dict[str, Any]:
    """The shop in which every call of the agent acts: the workflow says it, no model is asked."""
    return {"shop": deps["shop"]}


support_agent = agent(
    "support-agent",
    output=Answer,
    tools=[
        tools.find_user_id_by_email,
        tools.find_user_id_by_name_zip,
        tools.get_user_details,
        tools.get_order_details,
        tools.get_product_details,
        tools.list_all_product_types,
        tools.calculate,
        tools.think,
        tools.cancel_pending_order,
        tools.modify_pending_order_address,
        tools.modify_pending_order_payment,
        tools.modify_pending_order_items,
        tools.return_delivered_order_items,
        tools.exchange_delivered_order_items,
        tools.modify_user_address,
        tools.transfer_to_human_agents,
    ],
    instructions=(
        "You settle one customer's request at an online shop. First find out who the customer is, by "
        "e-mail or by name and zip; help with that customer's orders alone. Look an order up before you "
        "change it. A pending order's items can be changed once, and a delivered order can be returned or"
        " exchanged once, so collect everything the customer wants before you do it. Say in one sentence "
        "beside each call why you make it. When the shop or a reviewer says no, do not try the same "
        "again: look for another way that the customer would accept, or say plainly what cannot be done. "
        "Hand the case to a person only when no tool can help. Your answer is a short message to the "
        "customer with every amount in it that they asked about."
    ),
    script=scripts.play_calls,
    limits=Limits(model_requests=60, tool_calls=60),
    bind=in_shop,
)

refund_analyst = agent(
    "refund-analyst",
    output=Recommendation,
    tools=[get_refund_policy],
    instructions=(
        "You recommend whether and how much to pay back for one claim. You are given the claim, the "
        "order, its payments, what was checked, and the amounts that reviewers have rejected. Read the "
        "refund policy first. Recommend an amount that the policy carries, never more than is still paid,"
        " and 0.00 when nothing is due. Cite every passage and record that you rest on, say what speaks "
        "against it, and lower your confidence when a check is not as it should be. The message is to the"
        " customer: short, friendly, without promises that the amount does not keep. When a reviewer has "
        "sent a draft back, answer what they wrote."
    ),
    script=scripts.look_into_refund,
    limits=Limits(model_requests=8, tool_calls=8),
)
