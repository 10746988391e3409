"""A version of a workflow starts runs once a named person has said so, and no longer when one says so."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from pydantic import BaseModel

from runs import engine, services, workflow
from runs.code import digest_of
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import VersionState, WorkflowVersion
from runs.services import NotActive, NotPossible, activation
from tests.together import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
OMAR = "user:omar"
WHY = "Tried on ten old cases"


class Case(BaseModel):
    """An input."""


@pytest.fixture(autouse=True)
def on(settings: Any) -> None:
    settings.HOLDPOINT_ACTIVATION = True

    @workflow.workflow("test.refund", version=1)
    def first(run: Run, case: Case) -> int:
        run.sleep(0)
        return 1

    @workflow.workflow("test.refund", version=2)
    def second(run: Run, case: Case) -> int:
        return 2


@pytest.fixture(autouse=True)
def omar() -> User:
    omar = User.objects.create_user("omar")
    omar.user_permissions.add(Permission.objects.get(codename="activate_workflow"))
    return omar


def activate(version: int, actor: str = OMAR, reason: str = WHY) -> WorkflowVersion:
    return services.activate_version("test.refund", version, actor=actor, reason=reason)


def rows() -> Any:
    return WorkflowVersion.objects.filter(name="test.refund")


def start(version: int | None = None) -> RunRow:
    return services.start_run("test.refund", {}, actor=OMAR, version=version)


def command(*words: str) -> str:
    out = StringIO()
    call_command("runs", *words, stdout=out)
    return out.getvalue()


class TestActivate:
    def test_it_works(self) -> None:
        row = activate(1)
        assert (row.state, row.activated_by, row.note) == (VersionState.ACTIVE, OMAR, WHY)
        assert row.activated_at is not None
        assert row.code == digest_of(workflow.get("test.refund", 1)) != ""
        kept = row.history.latest("history_id")
        assert (kept.actor, kept.history_change_reason, kept.state) == (OMAR, WHY, "active")
        assert start().version == 1

    def test_the_newest_active_version_starts_runs(self) -> None:
        activate(1), activate(2)
        assert start().version == 2
        assert start(1).version == 1
        services.retire_version("test.refund", 2, actor=OMAR, reason="It pays twice")
        assert start().version == 1

    def test_a_newer_version_starts_nothing_before_it_is_active(self) -> None:
        activate(1)
        assert start().version == 1

    def test_runs_of_a_retired_version_go_on(self) -> None:
        activate(1)
        run = start()
        services.retire_version("test.refund", 1, actor=OMAR, reason="Old")
        assert engine.advance(run.id, "worker") is engine.Outcome.ENDED

    def test_off_means_that_every_version_starts_runs(self, settings: Any) -> None:
        settings.HOLDPOINT_ACTIVATION = False
        assert start().version == 2

    def test_the_engines_own_workflows_need_nobody(self) -> None:
        assert services.choose_version("holdpoint.call").name == "holdpoint.call"

    def test_every_version_in_code_has_its_row_to_be_seen(self) -> None:
        services.note_versions()
        services.note_versions()
        assert sorted(rows().values_list("version", "state")) == [(1, "deployed"), (2, "deployed")]
        assert not WorkflowVersion.objects.filter(name__startswith="holdpoint.").exists()

    def test_code_that_was_changed_since_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(activation, "digest_of", lambda definition: "as it was")
        activate(1)
        assert services.versions_not_as_activated() == []
        monkeypatch.setattr(activation, "digest_of", lambda definition: "as it is now")
        assert [row.version for row in services.versions_not_as_activated()] == [1]
        activate(1)
        assert services.versions_not_as_activated() == []

    def test_several_at_once_leave_one_row_and_a_history_of_each(self) -> None:
        def player(number: int) -> str:
            return activate(1).state

        assert at_once(3, [player] * 4) == [("active",) * 4] * 3
        assert rows().get().history.filter(state="active").count() == 12


class TestRefusals:
    def test_a_start_says_what_to_type(self) -> None:
        with pytest.raises(NotActive) as caught:
            start()
        assert str(caught.value) == (
            "No version of test.refund is active: nobody has activated one. Whoever may do so types: "
            'python3 manage.py runs activate test.refund 2 --by USERNAME --reason "WHY"'
        )
        assert not RunRow.objects.exists()

    def test_a_start_of_one_version_too(self) -> None:
        activate(1)
        with pytest.raises(NotActive, match="test.refund version 2 is not active: nobody has activated it"):
            start(2)
        services.retire_version("test.refund", 1, actor=OMAR, reason="Old")
        with pytest.raises(NotActive, match="omar retired version 1"):
            start(1)

    @pytest.mark.parametrize(
        "actor", ["system", "worker:wrk_1", "token:tok_1", "caretaker", "agent:a", "omar"]
    )
    def test_a_machine_activates_nothing(self, actor: str) -> None:
        with pytest.raises(NotPossible, match="Only a person, by name"):
            activate(1, actor)
        assert not rows().exists()

    def test_nobody_without_the_permission(self, omar: User) -> None:
        User.objects.create_user("ana")
        for actor in ("user:ana", "user:nobody"):
            with pytest.raises(NotPossible, match="may not activate or retire workflows"):
                activate(1, actor)
        omar.is_active = False
        omar.save()
        with pytest.raises(NotPossible, match="omar may not"):
            activate(1)
        assert not rows().exists()

    def test_nobody_without_a_reason(self) -> None:
        with pytest.raises(NotPossible, match="Say why"):
            activate(1, reason="  ")

    def test_nothing_that_is_not_there(self) -> None:
        with pytest.raises(workflow.UnknownWorkflow, match=r"no version 3; registered: 1, 2\."):
            activate(3)

    def test_only_an_active_one_is_retired(self) -> None:
        with pytest.raises(NotPossible, match="version 1 is not active"):
            services.retire_version("test.refund", 1, actor=OMAR, reason="Old")
        assert not rows().filter(state="retired").exists()


class TestCommand:
    def test_it_works(self) -> None:
        said = command("activate", "test.refund", "1", "--by", "omar", "--reason", WHY)
        assert said.strip() == "test.refund version 1 is active."
        told = json.loads(command("retire", "test.refund", "1", "--by", "omar", "--reason", "Old", "--json"))
        assert (told["state"], told["by"], told["reason"]) == ("retired", OMAR, "Old")

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (["activate", "test.refund", "7", "--by", "omar", "--reason", WHY], 4),
            (["activate", "test.refund", "1", "--by", "nobody", "--reason", WHY], 4),
            (["activate", "test.refund", "1", "--by", "omar", "--reason", " "], 2),
            (["retire", "test.refund", "1", "--by", "omar", "--reason", WHY], 6),
            (["start", "test.refund", "--by", "omar"], 5),
        ],
    )
    def test_it_refuses_with_its_code(self, words: list[str], code: int) -> None:
        with pytest.raises(CommandError) as caught:
            command(*words)
        assert caught.value.returncode == code
        assert not RunRow.objects.exists()
