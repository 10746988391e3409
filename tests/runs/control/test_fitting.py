"""Code that does not fit the record is told before a run is forked, or taken back to an earlier step."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from runs import services, workflow
from runs.context import Run
from runs.models import Run as RunRow
from tests.runs.control.conftest import OMAR, start, turn
from tests.runs.control.test_retry import written
from tools import registry
from tools.failures import Fatal, Refused
from tools.registry import tool

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def tools() -> None:
    @tool(effect="read", name="f_look")
    def look(place: str) -> str:
        if place == "cellar":
            raise Refused("locked")
        return place

    @tool(effect="read", name="f_break")
    def break_off() -> str:
        raise Fatal("no light")


def deployed(*places: str, name: str = "f.looks") -> None:
    """The code of the workflow, as it is now: it looks at these places, and then breaks off."""
    workflow._registry.pop((name, 1), None)

    @workflow.workflow(name)
    def looks(run: Run, case: dict[str, Any]) -> None:
        for place in places:
            run.tool(registry.get("f_look"), place)
        run.tool(registry.get("f_break"))


@pytest.fixture
def failed() -> RunRow:
    deployed("attic", "hall", "stairs")
    run = start("f.looks")
    turn(run)
    assert (run.state, run.steps.count()) == ("failed", 4)
    return run


def fork(run: RunRow, at: str, **more: Any) -> RunRow:
    return services.fork_run(run.id, at, actor=OMAR, reason="other code", **more)


def retry(run: RunRow, path: str) -> RunRow:
    return services.retry_run(run.id, actor=OMAR, reason="other code", from_path=path)


TOLD = (
    r"cannot be taken up at step {}, because .* step 2: recorded is tool f_look with other arguments, "
    r"the code asks for tool f_look\. Nothing was done\. Deploy the code that fits, or choose step 2\."
)


class TestFork:
    def test_it_works(self, failed: RunRow) -> None:
        deployed("attic", "hall", "roof")
        other = fork(failed, "3")
        turn(other)
        assert [step.state for step in other.steps.order_by("position")] == ["succeeded"] * 3 + ["failed"]

    @pytest.mark.parametrize("at", ["3", "4"])
    def test_code_that_parted_before_the_step_is_told_and_nothing_written(
        self, failed: RunRow, at: str
    ) -> None:
        deployed("attic", "roof", "stairs")
        before = written()
        with pytest.raises(services.NotPossible, match=TOLD.format(at)) as refused:
            fork(failed, at)
        assert (refused.value.code, written()) == ("diverged", before)
        turn(fork(failed, "2"))  # the step that is named

    def test_code_that_ends_before_the_step_does_not_fit(self, failed: RunRow) -> None:
        deployed("attic")
        with pytest.raises(services.NotPossible, match="the code asks for tool f_break"):
            fork(failed, "3")

    def test_the_version_that_is_asked_for_counts(self, failed: RunRow) -> None:
        @workflow.workflow("f.looks", version=2)
        def looks(run: Run, case: dict[str, Any]) -> str:
            return str(run.tool(registry.get("f_look"), "roof"))

        with pytest.raises(services.NotPossible, match="recorded is tool f_look with other"):
            fork(failed, "2", version=2)
        assert fork(failed, "1", version=2).version == 2

    def test_code_that_goes_by_its_run_or_requester(self) -> None:
        @workflow.workflow("f.self")
        def looks(run: Run, case: dict[str, Any]) -> None:
            run.tool(registry.get("f_look"), run.requester)
            run.tool(registry.get("f_look"), run.id)
            run.tool(registry.get("f_break"))

        run = start("f.self")
        turn(run)
        with pytest.raises(services.NotPossible, match=r"choose step 1\."):
            fork(run, "2")
        services.fork_run(run.id, "2", actor="user:ana", reason="hers")
        with pytest.raises(services.NotPossible, match=r"choose step 2\."):
            services.fork_run(run.id, "3", actor="user:ana", reason="hers")

    def test_after_branches_of_which_one_lost(self) -> None:
        @workflow.workflow("f.branches")
        def branches(run: Run, case: dict[str, Any]) -> None:
            run.race(run.later(run.tool, registry.get("f_look"), "attic"), run.later(run.sleep, 3600))
            try:
                run.gather(
                    run.later(run.tool, registry.get("f_look"), "hall"),
                    run.later(run.tool, registry.get("f_look"), "cellar"),
                )
            except Refused:
                run.tool(registry.get("f_look"), "stairs")
            run.tool(registry.get("f_break"))

        run = start("f.branches")
        turn(run)
        assert run.state == "failed"
        tops = list(run.steps.exclude(path__contains="/").order_by("position").values_list("path", flat=True))
        for at in tops:
            other = fork(run, at)
            turn(other)
            assert (other.state, other.attention) == ("failed", None), at

    def test_code_that_is_not_to_be_replayed_is_left_to_whoever_goes_on(self) -> None:
        @workflow.workflow("f.writes")
        def writes(run: Run, case: dict[str, Any]) -> None:
            RunRow.objects.filter(pk=run.id).update(intent="written")
            run.tool(registry.get("f_look"), "attic")
            run.tool(registry.get("f_look"), "hall")

        run = start("f.writes")
        turn(run)
        assert fork(run, "2").steps.count() == 1


class TestRetry:
    def test_it_works(self, failed: RunRow) -> None:
        deployed("attic", "hall", "roof")
        retry(failed, "3")
        turn(failed)
        assert failed.steps.get(path="3").arguments == {"place": "roof"}

    @pytest.mark.parametrize("path", ["3", "4"])
    def test_code_that_parted_before_the_step_is_told_and_nothing_written(
        self, failed: RunRow, path: str
    ) -> None:
        deployed("attic", "roof", "stairs")
        before = written()
        with pytest.raises(services.NotPossible, match=TOLD.format(path)) as refused:
            retry(failed, path)
        assert (refused.value.code, written()) == ("diverged", before)
        retry(failed, "2")
        turn(failed)
        assert failed.steps.get(path="2").arguments == {"place": "roof"}

    def test_a_run_that_stopped_because_its_code_parted_goes_back_to_there(self, failed: RunRow) -> None:
        deployed("attic", "roof", "stairs")
        services.retry_run(failed.id, actor=OMAR, reason="again")
        turn(failed)
        assert failed.attention is not None and failed.attention["code"] == "diverged"
        retry(failed, "2")
        turn(failed)
        assert failed.state == "failed" and failed.attention is None


@pytest.mark.parametrize("verb", ["fork", "retry"])
def test_a_page_says_it_and_keeps_what_was_typed(failed: RunRow, client: Client, verb: str) -> None:
    deployed("attic", "roof", "stairs")
    omar = User.objects.create_user("omar")
    omar.user_permissions.set(Permission.objects.filter(codename__in=["view_run", "control_run"]))
    client.force_login(omar)
    said = client.post(
        reverse("runs:control", args=[failed.id, verb]), {"step": "3", "reason": "we mended it"}
    )
    page = said.content.decode()
    assert said.status_code == 409
    assert (
        "recorded is tool f_look with other arguments" in page
        and "choose step 2." in page
        and "we mended it" in page
    )
