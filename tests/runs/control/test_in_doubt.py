"""What may have happened stays unknown however its run ends, and is settled afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from runs import journal, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Errand, Step
from runs.models import Run as RunRow
from runs.stops import Fenced
from runs.turns import lease
from tests.runs.control.conftest import OMAR, start, turn
from tools import registry
from tools import services as calls
from tools.contract import IdempotencyKey
from tools.failures import Refused, Transient
from tools.models import ToolCall
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)
ONE_UNKNOWN = "The outcome of 1 call is unknown."


@pytest.fixture
def world() -> list[str]:
    """The keys of what was done outside."""
    done: list[str] = []

    @tool(effect="write", risk="low", name="d_put", rollback="None")
    def put(*, key: IdempotencyKey) -> str:
        if key not in done:
            done.append(key)
        raise Transient("the answer was lost")

    @put.lookup
    def _(key: IdempotencyKey) -> str | None:
        return "put" if key in done and found else None

    found: list[bool] = []

    @tool(effect="write", risk="low", name="d_far", queue="tools", rollback="None")
    def far(*, key: IdempotencyKey) -> str:
        raise AssertionError("nobody serves its queue here")

    @tool(effect="read", name="d_refuse")
    def refuse() -> str:
        raise Refused("not today")

    @tool(effect="read", name="d_look")
    def look() -> str:
        return "seen"

    def waits(run: Run, case: dict[str, Any]) -> str:
        return str(run.tool(put))

    @workflow.workflow("d.waits")
    def plain(run: Run, case: dict[str, Any]) -> str:
        return waits(run, case)

    @workflow.workflow("d.cleans", on_cancel=lambda run, case: run.tool(look))
    def cleans(run: Run, case: dict[str, Any]) -> str:
        return waits(run, case)

    @workflow.workflow("d.race")
    def race(run: Run, case: dict[str, Any]) -> Any:
        return run.race(run.later(put), run.later(look))[1]

    @workflow.workflow("d.goes_on_after")
    def after(run: Run, case: dict[str, Any]) -> Any:
        run.race(run.later(put), run.later(look))
        run.sleep(3600)

    @workflow.workflow("d.gather")
    def gather(run: Run, case: dict[str, Any]) -> Any:
        return run.gather(run.later(put), run.later(refuse))

    @workflow.workflow("d.restart")
    def restart(run: Run, case: dict[str, Any]) -> Any:
        if case:
            return "the last"
        run.race(run.later(put), run.later(look))
        return run.restart({"again": True})

    @workflow.workflow("d.far")
    def elsewhere(run: Run, case: dict[str, Any]) -> Any:
        return run.tool(far)

    return done


def cancel(run: RunRow) -> None:
    services.cancel_run(run.id, actor=OMAR, reason="not needed.")
    if RunRow.objects.get(pk=run.pk).state == "cancelling":
        turn(run)


ENDS: dict[str, tuple[str, bool, str]] = {
    "cancelled at once": ("d.waits", True, "cancelled"),
    "cancelled after its clean-up": ("d.cleans", True, "cancelled"),
    "lost a race": ("d.race", False, "succeeded"),
    "another branch failed": ("d.gather", False, "failed"),
    "went on as another run": ("d.restart", False, "succeeded"),
}


@pytest.fixture(params=list(ENDS))
def ended(request: pytest.FixtureRequest, world: list[str]) -> RunRow:
    """A run that has ended while nobody knew whether its write had happened."""
    name, to_cancel, state = ENDS[request.param]
    run = start(name)
    turn(run)
    if to_cancel:
        assert run.steps.get(name="d_put").state == "waiting" and run.steps.get(name="d_put").in_doubt
        cancel(run)
    run.refresh_from_db()
    assert run.state == state
    assert len(world) == 1, "it happened, and nobody knows"
    return run


def settled(run: RunRow, outcome: str) -> Step:
    call = ToolCall.objects.get(run_id=run.id, state="unknown")
    ToolCall.objects.filter(pk=call.pk).update(not_before=db_now() - timedelta(seconds=1))
    result = "put" if outcome == "happened" else None
    calls.settle(call.id, outcome, result, note="Looked.", by="user:bea")
    return run.steps.get(name="d_put")


class TestStaysUnknown:
    """However the run ends."""

    def test_in_step_call_and_journal(self, ended: RunRow) -> None:
        step = ended.steps.get(name="d_put")
        call = ToolCall.objects.get(tool="d_put")
        assert (step.state, call.state) == ("unknown", "unknown")
        assert call.not_before is not None and step.not_before == call.not_before
        assert (step.error["call"], step.error["kind"]) == (call.id, "unknown_outcome")
        assert (call.error, step.due_at) == ("the answer was lost", None)
        assert ended.journal.filter(kind="call.unknown", step_id=step.id).count() == 1
        assert Step.history.filter(id=step.id).latest("history_id").state == "unknown"
        assert list(journal.verify(ended, ended.journal.order_by("seq"))) == []

    def test_in_the_sentence_with_which_it_ends(self, ended: RunRow) -> None:
        last = ended.journal.latest("seq")
        assert last.kind in ("run.succeeded", "run.failed", "run.cancelled", "run.restarted")
        assert last.sentence.endswith(ONE_UNKNOWN) and ".. " not in last.sentence
        assert last.content["unknown"] == 1

    def test_where_unknown_outcomes_are_listed(self, ended: RunRow) -> None:
        call = ToolCall.objects.get(tool="d_put")
        out = StringIO()
        call_command("tools", "unknown", stdout=out)
        assert call.id in out.getvalue()
        chief = User.objects.create_superuser("chief", password="x")
        client = Client()
        client.force_login(chief)
        listed = client.get("/api/v1/calls").json()["items"]
        assert [item["id"] for item in listed] == [call.id]
        page = client.get(f"/runs/{ended.id}/").content.decode()
        assert f"/calls/{call.id}/settle/" in page and call.key in page
        assert "tried again" not in page, "nobody waits for it any more"
        assert "; nobody knows yet whether 1 call happened" in page
        window = client.get("/admin/tools/toolcall/?state=unknown").content.decode()
        assert call.id in window


class TestIsSettledAfterTheEnd:
    """By a person, or by the tool's own lookup."""

    def test_it_happened(self, ended: RunRow) -> None:
        state, output = ended.state, ended.output
        step = settled(ended, "happened")
        ended.refresh_from_db()
        assert (step.state, step.result, step.error) == ("succeeded", "put", None)
        assert (ended.state, ended.output, ended.lease_owner) == (state, output, "")
        assert ended.journal.latest("seq").kind == "call.settled"
        assert not ToolCall.objects.unknown().exists()

    def test_it_did_not_happen(self, ended: RunRow) -> None:
        state = ended.state
        step = settled(ended, "did_not_happen")
        ended.refresh_from_db()
        assert (step.state, step.error, ended.state) == ("cancelled", None, state)
        assert ToolCall.objects.get(tool="d_put").state == "failed"

    def test_by_the_lookup(self, ended: RunRow, monkeypatch: pytest.MonkeyPatch) -> None:
        put = registry.get("d_put")
        monkeypatch.setattr(type(put), "find", lambda self, key: "found")
        call = ToolCall.objects.get(tool="d_put")
        assert calls.probe(call.id).outcome == "happened"
        assert ended.steps.get(name="d_put").state == "succeeded"

    def test_without_its_result_where_its_contents_are_gone(self, ended: RunRow) -> None:
        services.purge_contents(ended.id)
        step = settled(ended, "happened")
        assert (step.state, step.result, step.blob) == ("succeeded", None, "")
        assert len(ToolCall.objects.get(tool="d_put").result_digest) == 64


class TestAroundIt:
    """What else must hold."""

    def test_a_failed_run_is_retried_once_it_is_settled(self, world: list[str]) -> None:
        run = start("d.gather")
        turn(run)
        with pytest.raises(services.NotPossible, match="then it can be retried"):
            services.retry_run(run.id, actor=OMAR, reason="once more")
        settled(run, "happened")
        services.retry_run(run.id, actor=OMAR, reason="once more")
        turn(run)
        assert (run.state, len(world)) == ("failed", 1), "the other branch refuses again; this one stands"
        assert run.steps.get(name="d_put", path="1").state == "succeeded"

    def test_an_attempt_that_was_never_begun_elsewhere_hides_no_earlier_one(self, world: list[str]) -> None:
        run = start("d.far")
        turn(run)
        errand = Errand.objects.get()
        assert services.take_errand(errand.pk, "wrk_far") is not None
        past = db_now() - timedelta(hours=1)
        Errand.objects.update(lease_until=past)
        assert services.wake_for_lost(errand.pk)
        turn(run)
        Step.objects.update(not_before=past)
        RunRow.objects.update(state="queued", wake_at=None)
        turn(run)
        assert [call.state for call in ToolCall.objects.order_by("attempt")] == ["failed", "started"]
        services.cancel_run(run.id, actor=OMAR, reason="not needed")
        turn(run)
        assert run.state == "cancelled"
        assert [call.state for call in ToolCall.objects.order_by("attempt")] == ["unknown", "cancelled"]
        assert run.steps.get(name="d_far").state == "unknown"
        assert run.journal.latest("seq").sentence.endswith(ONE_UNKNOWN)

    def test_what_lost_is_not_tried_again_while_its_run_goes_on(self, world: list[str]) -> None:
        run = start("d.goes_on_after")
        turn(run)
        assert run.state == "waiting"
        step, wakes = settled(run, "did_not_happen"), run.wakes
        run.refresh_from_db()
        assert (step.state, run.state, run.wakes) == ("cancelled", "waiting", wakes), "nobody waits for it"

    def test_nothing_is_said_where_everything_is_known(self, nap: str) -> None:
        run = start(nap)
        turn(run)
        cancel(run)
        last = run.journal.latest("seq")
        assert "unknown" not in last.sentence and "unknown" not in last.content

    def test_whoever_cancels_is_told_before(self, world: list[str]) -> None:
        run = start("d.waits")
        turn(run)
        told = services.consequence_of("cancel", run).goes_on
        assert "Nobody knows whether d_put happened; that stays to be settled." in told


class TestSettledWhileItGoesOn:
    """A person, or a worker's answer, is quicker than the turn that has the run."""

    @pytest.fixture
    def settling(self) -> Iterator[dict[str, Any]]:
        """`d.goes_on`: a launch in doubt beside a branch that settles it while its second step runs."""
        said: dict[str, Any] = {"outcome": "happened", "launched": 0}

        @tool(effect="irreversible", risk="high", name="d_launch", rollback="None")
        def launch(*, key: IdempotencyKey) -> str:
            said["launched"] += 1
            if said["launched"] == 1:
                raise Transient("the answer was lost")
            return "launched"

        @tool(effect="write", risk="low", name="d_settle", rollback="None")
        def settle(number: int, *, key: IdempotencyKey) -> str:
            if number == 2:
                call = ToolCall.objects.get(state="unknown")
                ToolCall.objects.update(not_before=db_now() - timedelta(seconds=1))
                result = "launched" if said["outcome"] == "happened" else None
                calls.settle(call.id, said["outcome"], result, note="Looked.", by="user:bea")
            return "settled"

        def twice(run: Run) -> str:
            run.tool(settle, 1)
            return str(run.tool(settle, 2))

        def fails(run: Run) -> str:
            run.tool(settle, 1)
            run.tool(settle, 2)
            raise ValueError("no more")

        @workflow.workflow("d.goes_on")
        def goes_on(run: Run, case: dict[str, Any]) -> Any:
            return run.gather(run.later(launch), run.later(fails if case else twice))

        yield said

    @pytest.mark.parametrize(("outcome", "launched"), [("happened", 1), ("did_not_happen", 2)])
    def test_the_run_does_not_stop_for_what_is_settled(
        self, settling: dict[str, Any], outcome: str, launched: int
    ) -> None:
        settling["outcome"] = outcome
        run = start("d.goes_on")
        turn(run)
        assert (run.state, run.attention) == ("succeeded", None)
        assert run.output == ["launched", "settled"]
        assert settling["launched"] == launched

    @pytest.mark.parametrize(
        ("outcome", "state"), [("happened", "succeeded"), ("did_not_happen", "cancelled")]
    )
    def test_the_end_counts_what_is_unknown_then(
        self, settling: dict[str, Any], outcome: str, state: str
    ) -> None:
        settling["outcome"] = outcome
        run = start("d.goes_on", {"fails": True})
        turn(run)
        assert run.state == "failed"
        assert run.steps.get(name="d_launch").state == state
        assert "unknown" not in run.journal.latest("seq").sentence
        assert list(journal.verify(run, run.journal.order_by("seq"))) == []

    def test_an_older_turn_of_the_same_worker_is_fenced_when_it_looks_again(self, nap: str) -> None:
        run = start(nap)
        older = lease.claim(run.id, "wrk_a")
        assert older is not None
        services.rescue_run(
            run.id, older.run.lease_epoch, reason="late", died=False, proven=False, alone=False
        )
        newer = lease.claim(run.id, "wrk_a")
        assert newer is not None
        with pytest.raises(Fenced):
            lease.load_again(older)
        assert lease.load_again(newer).run.lease_epoch == older.run.lease_epoch + 1
