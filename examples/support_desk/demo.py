"""What there is to see when one has just started: a small shop, and a case for each way that one can go."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from approvals.models import Approval
from approvals.services import decide
from examples.support_desk import loading
from examples.support_desk.demo_shop import DEMO_SHOP
from ops.launch.processes import wait_until
from runs import engine, services, workflow
from runs.crew import workers
from runs.gate import Next
from runs.models import Run, VersionState, WorkflowVersion

SOURCE = "demo"
#: What each case is for, its workflow and its input. Omar asks for all of them, so Ana and Ben may decide.
CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "Refund a broken cup to Maya Lind",
        "support.refund",
        {
            "customer_id": "maya_lind",
            "order_id": "#H1001",
            "claim": "One of the two cups arrived in pieces.",
            "item_ids": ["p-cup-blue"],
            "asked": "18.40",
        },
    ),
    (
        "Refund a broken chair to Tobias Okoro",
        "support.refund",
        {
            "customer_id": "tobias_okoro",
            "order_id": "#H1003",
            "claim": "The chair's gas spring gives way. I do not want another one.",
            "item_ids": ["p-chair-grey"],
            "asked": "489.00",
        },
    ),
    (
        "Refund a lost cup to Irene Castel",
        "support.refund",
        {
            "customer_id": "irene_castel",
            "order_id": "#H1006",
            "claim": "The parcel never came.",
            "item_ids": ["p-cup-sand"],
            "asked": "18.40",
        },
    ),
    (
        "Refund a silent headset to Nadir Hale, who asks for the whole order",
        "support.refund",
        {
            "customer_id": "nadir_hale",
            "order_id": "#H1007",
            "claim": "The headset is silent on one side. I want my money back for all of it.",
            "item_ids": ["p-headset-white"],
            "asked": "193.40",
        },
    ),
    (
        "Cancel Nadir Hale's chair",
        "support.request",
        {
            "customer_id": "nadir_hale",
            "request": "Please cancel my order #H1008, I have found another chair.",
            "calls": [
                {"tool": "find_user_id_by_email", "arguments": {"email": "nadir.hale@example.com"}},
                {"tool": "get_order_details", "arguments": {"order_id": "#H1008"}},
                {
                    "tool": "cancel_pending_order",
                    "arguments": {"order_id": "#H1008", "reason": "no longer needed"},
                },
            ],
        },
    ),
    (
        "Cancel an order of Maya Lind's that was delivered already",
        "support.request",
        {
            "customer_id": "maya_lind",
            "request": "Cancel #H1001, I ordered it by mistake.",
            "calls": [
                {"tool": "get_order_details", "arguments": {"order_id": "#H1001"}},
                {
                    "tool": "cancel_pending_order",
                    "arguments": {"order_id": "#H1001", "reason": "ordered by mistake"},
                },
            ],
        },
    ),
)
#: The one whose first draft a reviewer has read already, and sent back.
SENT_BACK = (
    "Refund an office chair in the wrong colour to Vera Stone",
    "support.refund",
    {
        "customer_id": "vera_stone",
        "order_id": "#H1009",
        "claim": "One of the two chairs has the wrong colour. I want my money back.",
        "item_ids": ["p-chair-green"],
        "asked": "988.00",
    },
)
#: The same customer's: it stands in line until her first claim has ended.
IN_LINE = (
    "Refund a scratched lamp to Vera Stone, once her first claim is settled",
    "support.refund",
    {
        "customer_id": "vera_stone",
        "order_id": "#H1010",
        "claim": "The lamp has a long scratch.",
        "item_ids": ["p-lamp-black"],
        "asked": "64.90",
    },
)
WHY_SENT_BACK = "The grey chair is as ordered. Refund the green one alone."
WHY_ACTIVE = "Part of the demo"
PATIENCE = 10.0  # seconds for a worker that was quicker than we to come to the first draft


def activate(actor: str) -> None:
    """On the word of `actor`, let the versions of the support desk start runs that nobody has judged yet."""
    rows = WorkflowVersion.objects.exclude(state=VersionState.DEPLOYED)
    judged = set(rows.values_list("name", "version"))
    for known in workflow.all_workflows():
        ours = known.name.startswith("support.") and (known.name, known.version) not in judged
        if ours and settings.HOLDPOINT_ACTIVATION:
            services.activate_version(known.name, known.version, actor=actor, reason=WHY_ACTIVE)


def load_demo(actor: str, reviewer: User) -> list[Run]:
    """Put the demo shop into the live shop and ask, as `actor`, for the cases that nobody asked for yet.

    Safe to repeat: what is there stays as it is. Returns the runs that were started.
    """
    loading.put(DEMO_SHOP)
    activate(actor)
    there = set(Run.objects.filter(source=SOURCE).values_list("intent", flat=True))
    started = [
        services.start_run(name, value, actor=actor, intent=intent, source=SOURCE)
        for intent, name, value in (*CASES, SENT_BACK, IN_LINE)
        if intent not in there
    ]
    for run in started:
        if run.intent == SENT_BACK[0]:
            _send_back(run, reviewer)
    return started


def _send_back(run: Run, reviewer: User) -> None:
    """Have the reviewer send the first draft back; it is made here and now if no worker makes it."""
    worker = workers.ThisWorker("", "threads")
    try:
        engine.advance(run.id, worker.id)
        wait_until(lambda: Approval.objects.pending().filter(run=run).exists(), PATIENCE)
    finally:
        worker.leave()
    for first in Approval.objects.pending().filter(run=run):
        decide(
            first.pk,
            by=reviewer,
            verdict="reject",
            digest=first.digest,
            reason=WHY_SENT_BACK,
            next=Next.SEND_BACK,
            client="demo",
        )
