"""The people, tools and calls of these tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User

from approvals import declared, queries
from approvals.models import Approval, Policy
from approvals.policy import Requirement, Tier
from approvals.requests import preview_of
from approvals.services import open_approval
from runs import messages
from runs.clock import db_now
from runs.gate import ProposedCall
from runs.models import Run
from runs.services import append_entries, lock_run
from runs.turns.checkpoint import own_transaction
from tools.canonical import digest, new_id
from tools.contract import Change, IdempotencyKey, Money, Preview, Tool

Asked = Callable[..., Approval]
Proposed = Callable[..., ProposedCall]


def pay_back(order_id: str, amount: Money, *, key: IdempotencyKey) -> str:
    """Pay money back."""
    return f"{order_id}-{amount}"


def look_up(order_id: str) -> str:
    """Look at an order."""
    return order_id


def made(effect: str = "write", risk: str = "medium", function: Any = pay_back, **more: Any) -> Tool:
    """A tool of that effect and risk that can tell its amount."""
    tool = Tool(
        function, effect=effect, risk=risk, name=more.pop("name", None) or f"{function.__name__}", **more
    )
    if function is pay_back:
        tool.facts(lambda call: {"amount": call.values["amount"], "currency": "EUR"})
        tool.preview(
            lambda call: Preview(
                f"Pay {call.values['amount']} EUR back for {call.values['order_id']}",
                changes=[Change("Paid", "120.00 EUR", "0.00 EUR")],
            )
        )
    return tool


@dataclass
class People:
    """Ana asks; Bea and Carl decide, Bea for Finance; Olga only looks; Root may do everything."""

    ana: User
    bea: User
    carl: User
    olga: User
    root: User
    finance: Group


@pytest.fixture
def people(db: None) -> People:
    may_decide = Permission.objects.get(codename="decide_approval")
    finance = Group.objects.create(name="Finance")
    found = {name: User.objects.create_user(name, password="x") for name in ("ana", "bea", "carl", "olga")}
    for name in ("ana", "bea", "carl"):
        found[name].user_permissions.add(may_decide)
    found["bea"].groups.add(finance)
    root = User.objects.create_superuser("root", password="x")
    return People(**found, root=root, finance=finance)


@pytest.fixture
def run(db: None) -> Run:
    """A run that Ana started and that waits."""
    return a_run()


def a_run(requester: str = "user:ana", state: str = "waiting") -> Run:
    row = Run(
        id=new_id("run"),
        workflow="shop.refund",
        version=1,
        requester=requester,
        input={},
        created_at=db_now(),
    )

    row.claim()
    if state == "waiting":
        row.wait()
    row.save(force_insert=True)
    return row


@pytest.fixture
def call(run: Run) -> Proposed:
    """A proposed call of the run; every part can be given."""

    def propose(tool: Tool | None = None, **more: Any) -> ProposedCall:
        return a_call(run, tool, **more)

    return propose


def a_call(run: Run, tool: Tool | None = None, **more: Any) -> ProposedCall:
    tool = tool or made()
    arguments = more.pop("arguments", {"order_id": "A1", "amount": "120.00"})
    arguments = tool.validate(arguments) if tool.function is pay_back else arguments
    path = more.pop("path", "4")
    key = digest([run.id, path])[:40]
    values = {
        "run_id": run.id,
        "step_id": new_id("stp"),
        "path": path,
        "workflow": run.workflow,
        "workflow_version": 1,
        "tool": tool,
        "arguments": arguments,
        "arguments_digest": digest(arguments),
        "key": key,
        "requester": run.requester,
        "why": "The parcel arrived broken.",
        "evidence": [{"source": "order A1", "text": "delivered, damaged"}],
        "facts": tool.declared_facts(tool.call(arguments, key)) if tool.effect.changes_the_world else {},
    }
    return ProposedCall(**(values | more))


@pytest.fixture
def ask(run: Run) -> Asked:
    """Open a request about a call, as the engine does: ``ask(call, quorum=2)``."""

    def opened(proposed: ProposedCall | None = None, **terms: Any) -> Approval:
        return an_approval(proposed or a_call(run), **terms)

    return opened


def an_approval(proposed: ProposedCall, **terms: Any) -> Approval:
    terms = {"policy_name": "default", "policy_version": 1} | terms
    requirement = Requirement(tier=Tier.REVIEW, **terms)
    with own_transaction():
        run = lock_run(proposed.run_id)
        append_entries(run, open_approval(proposed, requirement, preview_of(proposed)), actor="worker:w")
    return Approval.objects.get(step_id=proposed.step_id, state="pending")


def overdue(approval: Approval, by: timedelta = timedelta(seconds=1)) -> Approval:
    """The same request, its time over."""
    Approval.objects.filter(pk=approval.pk).update(expires_at=db_now() - by)
    return Approval.objects.get(pk=approval.pk)


@pytest.fixture(autouse=True)
def hints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that workers were told about."""
    sent: list[str] = []
    monkeypatch.setattr(messages, "send", lambda run_id, queue, priority: sent.append(run_id))
    return sent


@pytest.fixture(autouse=True)
def no_policies(request: pytest.FixtureRequest) -> Iterator[None]:
    """No policies but those of the test, declared or in rows."""
    marker = request.node.get_closest_marker("django_db")
    if marker or {"db", "transactional_db"} & set(request.fixturenames):
        # Before the declarations are hidden: emptying the database later installs them for the next test.
        request.getfixturevalue("transactional_db" if marker and marker.kwargs.get("transaction") else "db")
        Policy.objects.all().delete()
    with declared.scratch():
        queries._read = queries._Read()
        yield
        queries._read = queries._Read()
