"""The demo: each case goes its own way, and loading it again changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User

from approvals.models import Approval
from approvals.services import decide
from examples.support_desk.demo import CASES, IN_LINE, SENT_BACK, load_demo
from examples.support_desk.models import Message, Payment
from ops.demo_people import ensure_demo_people
from runs import engine, services
from runs.models import Run

pytestmark = pytest.mark.django_db(transaction=True)

OMAR = "user:omar"


@pytest.fixture(autouse=True)
def people(tmp_path: Path) -> None:
    ensure_demo_people(tmp_path)


def ben() -> User:
    return User.objects.get(username="ben")


def play() -> dict[str, Run]:
    """Load the demo and take every run as far as it goes."""
    load_demo(OMAR, ben())
    for run in Run.objects.filter(state="queued"):
        engine.advance(run.id, "wrk_test")
    return {run.intent: run for run in Run.objects.all()}


class TestLoadDemo:
    def test_each_case_goes_its_own_way(self) -> None:
        runs = play()
        assert [runs[intent].state for intent, *_ in CASES] == [
            "succeeded",  # small: paid by itself
            "waiting",  # large
            "waiting",  # small and odd
            "waiting",  # large, and more than is due
            "succeeded",
            "succeeded",  # with the shop's refusal on record
        ]
        assert runs[CASES[-1][0]].output["refused"]
        assert Approval.objects.filter(state="pending").count() == 4

    def test_a_draft_that_is_sent_back_comes_back_smaller(self) -> None:
        run = play()[CASES[3][0]]
        ana = User.objects.get(username="ana")
        first = Approval.objects.get(run=run)
        decide(
            first.pk,
            by=ana,
            verdict="reject",
            digest=first.digest,
            reason="The headset only",
            next="send_back",
        )
        engine.advance(run.id, "wrk_test")
        second = Approval.objects.get(run=run, state="pending")
        assert (first.arguments["amount"], second.arguments["amount"]) == ("193.40", "129.50")
        decide(second.pk, by=ana, verdict="approve", digest=second.digest)
        engine.advance(run.id, "wrk_test")
        run.refresh_from_db()
        assert run.output["outcome"] == "refunded"
        assert run.output["receipt"]["transaction_id"]
        assert Payment.objects.filter(order__number="#H1007", kind="refund").count() == 1
        assert Message.objects.filter(order_number="#H1007").exists()

    def test_one_draft_was_sent_back_already(self) -> None:
        run = play()[SENT_BACK[0]]
        first = Approval.objects.get(run=run, state="rejected")
        second = Approval.objects.get(run=run, state="pending")
        assert (first.arguments["amount"], second.arguments["amount"]) == ("988.00", "499.00")
        assert first.reason in second.why

    def test_a_second_claim_of_a_customer_waits_for_the_first(self) -> None:
        runs = play()
        second = runs[IN_LINE[0]]
        assert (second.state, second.steps.count()) == ("waiting", 0)
        assert second.waiting_for == "a free place: 1 of 1 run for vera_stone is under way"
        services.cancel_run(runs[SENT_BACK[0]].id, actor=OMAR, reason="She takes the lamp instead")
        second.refresh_from_db()
        assert second.state == "queued"
        engine.advance(second.id, "wrk_test")
        assert Approval.objects.get(run=second).arguments["amount"] == "64.90"

    def test_it_may_be_loaded_again(self) -> None:
        play()
        before = Run.objects.count()
        assert load_demo(OMAR, ben()) == []
        assert Run.objects.count() == before
