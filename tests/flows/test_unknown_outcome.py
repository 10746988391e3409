"""What cannot be undone is sent once; when nobody knows whether it happened, a person finds out and says."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from runs import services
from runs.clock import db_now
from runs.models import Run
from tests.flows.conftest import Crew, Decide, Stage, assert_whole, state_of
from tests.flows.promises import world
from tests.flows.promises.workflows import Act
from tests.flows.story import Until, act, manage
from tools.models import ToolCall

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("short_leases")]
REFUSED, NOT_IN_DOUBT = 5, 6


@pytest.fixture
def launched(crew: Crew, stage: Stage, until: Until, bea: User, decide: Decide) -> object:
    """Start a run with this launch, with so many workers, and have it approved."""

    def begin(launch: Act, workers: int = 2) -> Run:
        crew.start(workers)
        run = stage.start(launch, act("look", "c"))
        until(lambda: stage.asks(run))
        decide(run, bea)
        until(lambda: world.happened(f"asked to launch {launch.name}"))
        return run

    return begin


def settle_now(call: ToolCall) -> int | str:
    """The exit code of settling `call` at this moment."""
    try:
        call_command(
            "tools", "reconcile", call.pk, "--happened", "--result", '"b"', "--note", "n", "--by", "bea"
        )
    except CommandError as error:
        return error.returncode
    return 0


def lose_its_worker(crew: Crew, stage: Stage, run: Run, until: Until) -> ToolCall:
    """SIGKILL in the middle of the call; the call once it is in doubt."""
    crew.holder(run).kill()
    call = ToolCall.objects.get(run_id=run.pk)
    quiet = call.not_before
    assert quiet is not None and settle_now(call) == NOT_IN_DOUBT, "it may still be in flight"
    until(lambda: stage.entries(run, "run.rescued"), 20)
    until(lambda: state_of(run) == "needs_attention", 30)
    call.refresh_from_db()
    (halt,) = stage.entries(run, "run.needs_attention")
    assert halt.recorded_at >= quiet == call.not_before, "nothing was concluded before the not-before time"
    assert (call.state, stage.step(run, "1").state) == ("unknown", "unknown")
    assert Run.objects.get(pk=run.pk).attention["code"] == "unknown_outcome"
    return call


def test_it_happened_and_the_run_goes_on_without_doing_it_again(
    launched, crew: Crew, stage: Stage, until: Until, story_env: dict[str, str]
) -> None:
    gate = stage.file("gate")
    run = launched(act("launch", "b", then=gate))
    until(lambda: world.happened("launch b"))
    call = lose_its_worker(crew, stage, run, until)
    stage.let_go(gate)

    services.resume_run(run.pk, actor="user:olga", reason="Perhaps it is all right.")
    until(lambda: len(stage.entries(run, "run.needs_attention")) == 2)
    assert len(world.happened("asked to launch b")) == 1, "resuming is no way around finding out"

    listed = manage(story_env, "tools", "unknown")
    assert call.pk in listed.stdout
    settled = manage(
        story_env,
        "tools",
        "reconcile",
        call.pk,
        "--happened",
        "--result",
        '"b"',
        "--note",
        "Saw it.",
        "--by",
        "bea",
    )
    assert settled.returncode == 0, settled.stderr
    until(lambda: state_of(run) == "succeeded")
    row = assert_whole(run)
    assert row.output == ["b", "c"]
    assert (len(world.happened("asked to launch b")), len(world.happened("launch b"))) == (1, 1)
    call.refresh_from_db()
    assert (call.state, call.settled_by, call.note) == ("succeeded", "user:bea", "Saw it.")
    (entry,) = stage.entries(run, "call.settled")
    assert (entry.actor, entry.content["happened"]) == ("user:bea", True)
    assert settle_now(call) == NOT_IN_DOUBT, "it is settled once"


def test_it_did_not_happen_and_is_tried_again_with_the_same_key(
    launched, crew: Crew, stage: Stage, until: Until, story_env: dict[str, str]
) -> None:
    gate = stage.file("gate")
    run = launched(act("launch", "b", first=gate))
    call = lose_its_worker(crew, stage, run, until)
    stage.let_go(gate)
    assert not world.happened("launch b"), "its worker died before the effect"
    settled = manage(
        story_env, "tools", "reconcile", call.pk, "--did-not-happen", "--note", "Nothing flew.", "--by", "bea"
    )
    assert settled.returncode == 0, settled.stderr
    until(lambda: state_of(run) == "succeeded")
    assert assert_whole(run).output == ["b", "c"]
    asked = world.happened("asked to launch b")
    assert len(asked) == 2 and {line["key"] for line in asked} == {call.key}
    assert [line["key"] for line in world.happened("launch b")] == [call.key]
    calls = ToolCall.objects.filter(run_id=run.pk, tool="launch").order_by("attempt")
    assert [(one.attempt, one.state, one.settled_by) for one in calls] == [
        (1, "failed", "user:bea"),
        (2, "succeeded", ""),
    ]


def test_an_answer_that_never_came_is_settled_no_sooner_than_it_is_safe(
    launched, crew: Crew, stage: Stage, until: Until
) -> None:
    run = launched(act("launch", "b", loses_its_answer=True), workers=1)
    until(lambda: state_of(run) == "needs_attention")
    call = ToolCall.objects.get(run_id=run.pk)
    assert call.not_before is not None and db_now() < call.not_before
    assert settle_now(call) == REFUSED
    assert (ToolCall.objects.get(pk=call.pk).state, state_of(run)) == ("unknown", "needs_attention")
    assert stage.entries(run, "call.settled") == []
    until(lambda: db_now() >= call.not_before)
    assert settle_now(call) == 0
    until(lambda: state_of(run) == "succeeded")
    assert assert_whole(run).output == ["b", "c"]
    assert len(world.happened("launch b")) == 1
