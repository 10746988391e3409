"""Questions to people: who may answer, typed answers, deadlines, two at once, and what the pages say."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from pydantic import BaseModel

from runs import engine, journal, questions, services, workflow
from runs.clock import db_now
from runs.context import Run
from runs.models import Run as RunRow
from runs.models import Step
from runs.steps.message import TimedOut
from tools.registry import tool

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_gate", "talking_broker")]


class Choice(BaseModel):
    """What to do."""

    account: Literal["main", "savings"]
    amount: int
    note: str = ""


def person(name: str, *groups: str, may: tuple[str, ...] = ("answer_question", "view_run")) -> User:
    made = User.objects.create_user(name, password="x")
    made.user_permissions.add(*Permission.objects.filter(codename__in=may))
    made.groups.add(*(Group.objects.get_or_create(name=group)[0] for group in groups))
    return made


@pytest.fixture
def ana() -> User:
    return person("ana", "finance")


@pytest.fixture
def ben() -> User:
    return person("ben")


def asks(**more: Any) -> tuple[RunRow, Step]:
    """A run that has asked which account to use, and its question."""
    kind = more.pop("type", Literal["main", "savings"])

    @workflow.workflow("t.ask")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        try:
            return run.ask("Which account?", kind, **more)
        except TimedOut as late:
            return f"nobody: {late}"

    run = services.start_run("t.ask", {}, actor="user:omar")
    assert engine.advance(run.id, "wrk_a") is engine.Outcome.WAITING
    run.refresh_from_db()
    return run, run.steps.get()


def finish(run: RunRow) -> Any:
    assert engine.advance(run.id, "wrk_b") is engine.Outcome.ENDED
    run.refresh_from_db()
    assert list(journal.verify(run, run.journal.order_by("seq"))) == []
    return run.output


def test_it_works(ana: User) -> None:
    run, step = asks(to="finance", evidence=[{"source": "Bank", "text": "Two accounts"}])
    assert (step.kind, step.state) == ("question", "held")
    assert run.waiting_for == "an answer from the group finance"
    services.answer_question(step.id, "savings", by=ana)
    run.refresh_from_db()
    assert (run.state, run.wakes) == ("queued", 1)
    assert finish(run) == "savings"
    said = run.journal.get(kind="question.answered")
    assert (said.actor, said.sentence) == ("user:ana", "ana answered the question")
    assert "Which account" not in " ".join(run.journal.values_list("sentence", flat=True))


def test_a_typed_answer(ana: User) -> None:
    run, step = asks(type=Choice)
    services.answer_question(step.id, {"account": "main", "amount": 3}, by=ana)
    assert finish(run) == {"account": "main", "amount": 3, "note": ""}


def test_a_question_asked_again_by_the_code_is_another_step(ana: User) -> None:
    @workflow.workflow("t.twice")
    def flow(run: Run, case: dict[str, Any]) -> list[str]:
        return [run.ask("Sure?"), run.ask("Sure?")]

    run = services.start_run("t.twice", {}, actor="user:omar")
    for number in (1, 2):
        assert engine.advance(run.id, "wrk_a") is engine.Outcome.WAITING
        services.answer_question(run.steps.get(path=str(number)).id, f"yes {number}", by=ana)
    assert finish(run) == ["yes 1", "yes 2"]


class TestWhoMayAnswer:
    def test_only_members_of_the_group(self, ana: User, ben: User) -> None:
        _, step = asks(to="finance")
        with pytest.raises(services.NotAllowed, match="Only members of the group finance"):
            services.answer_question(step.id, "main", by=ben)
        assert [list(questions.questions_for(who)) for who in (ana, ben)] == [[step], []]

    def test_only_the_person_asked(self, ana: User, ben: User) -> None:
        _, step = asks(to="user:ben")
        with pytest.raises(services.NotAllowed, match="Only ben is asked this"):
            services.answer_question(step.id, "main", by=ana)
        services.answer_question(step.id, "main", by=ben)

    def test_a_group_cannot_pass_for_a_person(self) -> None:
        sly = person("sly", "user:ben")
        _, step = asks(to="user:ben")
        with pytest.raises(services.NotAllowed):
            services.answer_question(step.id, "main", by=sly)
        assert not questions.questions_for(sly).exists()

    def test_nobody_without_the_permission(self) -> None:
        _, step = asks()
        ada = person("ada", may=("view_run",))
        with pytest.raises(services.NotAllowed, match="an administrator can give you the permission"):
            services.answer_question(step.id, "main", by=ada)
        assert step.run.steps.get().state == "held"
        assert not questions.questions_for(ada).exists()


class TestRefused:
    @pytest.mark.parametrize("value", ["other", 1, None, [], {"a": 1}, float("nan"), "x" * 300_000])
    def test_what_does_not_fit_changes_nothing(self, ana: User, value: Any) -> None:
        run, step = asks()
        before = run.journal.count()
        with pytest.raises(services.InvalidAnswer):
            services.answer_question(step.id, value, by=ana)
        assert (run.steps.get().state, run.journal.count()) == ("held", before)

    def test_the_second_hears_who_was_quicker(self, ana: User, ben: User) -> None:
        run, step = asks()
        services.answer_question(step.id, "main", by=ana)
        with pytest.raises(
            services.NotPossible, match=r"ana answered this at \d{4}-.* the first answer counts"
        ):
            services.answer_question(step.id, "savings", by=ben)
        assert finish(run) == "main"

    def test_no_such_question(self, ana: User) -> None:
        with pytest.raises(LookupError, match="There is no question stp_none"):
            services.answer_question("stp_none", 1, by=ana)

    def test_after_the_deadline(self, ana: User) -> None:
        run, step = asks(timeout=60)
        past = db_now() - timedelta(seconds=1)
        Step.objects.filter(pk=step.pk).update(due_at=past)
        with pytest.raises(services.NotPossible, match="the time to answer ended"):
            services.answer_question(step.id, "main", by=ana)
        RunRow.objects.filter(pk=run.pk).update(wake_at=past)
        services.wake_due(run.id)
        assert finish(run) == "nobody: Nobody answered in time (anyone who may answer was asked)"
        with pytest.raises(services.NotPossible, match="no longer asked"):
            services.answer_question(step.id, "main", by=ana)

    def test_the_run_has_ended(self, ana: User) -> None:
        run, step = asks()
        RunRow.objects.filter(pk=run.pk).update(state="cancelled")
        with pytest.raises(services.NotPossible, match="the run has ended"):
            services.answer_question(step.id, "main", by=ana)
        assert not questions.questions_for(ana).exists()


def test_an_answer_given_while_another_branch_decides_stands(ana: User) -> None:
    """The race is decided after the turn read its steps, and after the question was answered."""
    answered: list[Step] = []

    @tool(effect="read")
    def quick() -> str:
        step = Step.objects.get(kind="question", state="held")
        answered.append(services.answer_question(step.id, "mine", by=ana))
        return "quick"

    @workflow.workflow("t.race")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        run.sleep(0.01)
        return run.race(run.later(run.ask, "Which?"), run.later(_after, quick))

    def _after(run: Run, what: Any) -> Any:
        run.sleep(0.2)
        return run.tool(what)

    run = services.start_run("t.race", {}, actor="user:omar")
    while not run.ended:
        engine.advance(run.id, "wrk_a")
        services.wake_due(run.id)
        run.refresh_from_db()
    assert run.output == [1, "quick"]
    row = Step.objects.get(pk=answered[0].pk)
    assert (row.state, row.result) == ("succeeded", "mine"), "what a person was told stays true"
    assert run.journal.filter(kind="question.withdrawn").count() == 0


def test_a_question_that_nobody_needs_any_more_is_withdrawn(ana: User) -> None:
    @workflow.workflow("t.moot")
    def flow(run: Run, case: dict[str, Any]) -> Any:
        return run.race(run.later(run.ask, "Which?"), run.later(run.wait_for, "enough"))[0]

    run = services.start_run("t.moot", {}, actor="user:omar")
    engine.advance(run.id, "wrk_a")
    step = run.steps.get(kind="question")
    services.send_message(run.id, "enough", None, actor="user:omar")
    assert finish(run) == 1
    assert run.journal.filter(kind="question.withdrawn", step_id=step.id).count() == 1
    with pytest.raises(services.NotPossible, match="no longer asked"):
        services.answer_question(step.id, "x", by=ana)


class TestPages:
    def page(self, step: Step) -> str:
        return reverse("runs:question", args=[step.run_id, step.id])

    def test_it_works(self, client: Client, ana: User) -> None:
        run, step = asks(to="finance", type=Choice)
        client.force_login(ana)
        shown = client.get(self.page(step)).content.decode()
        assert "Which account?" in shown
        assert 'name="field-account" value="savings"' in shown
        assert 'id="id-amount" name="field-amount" value="" inputmode="numeric"' in shown
        given = {"field-account": "savings", "field-amount": "12", "field-note": ""}
        response = client.post(self.page(step), given)
        assert (response.status_code, response["Location"]) == (303, self.page(step))
        assert "ana answered this at" in client.get(self.page(step)).content.decode()
        assert finish(run) == {"account": "savings", "amount": 12, "note": ""}

    @pytest.mark.parametrize(
        ("kind", "typed", "value"),
        [
            (str, "Ä & <b>", "Ä & <b>"),
            (bool, "true", True),
            (bool, "false", False),
            (int, "7", 7),
            (float, "7.5", 7.5),
            (Literal["a", "b"], "b", "b"),
            (Literal[1, 2], "2", 2),
            (list[int], "[1, 2]", [1, 2]),
            (int | None, "", None),
            (Decimal, "12.50", "12.50"),
        ],
    )
    def test_every_kind_of_field(self, client: Client, ana: User, kind: Any, typed: str, value: Any) -> None:
        run, step = asks(type=kind)
        client.force_login(ana)
        assert client.get(self.page(step)).status_code == 200
        response = client.post(self.page(step), {"field-answer": typed})
        assert response.status_code == 303, response.content.decode()
        assert finish(run) == value

    @pytest.mark.parametrize(
        ("kind", "typed"),
        [
            (str, ""),
            (bool, ""),
            (bool, "maybe"),
            (int, "1.5"),
            (int, "many"),
            (int, "1e400"),
            (int, "99999999999999999999"),
            (Literal["a", "b"], "c"),
            (list[int], "[1,"),
            (list[int], '["x"]'),
            (list[int], "[" * 5000),
            (float, "NaN"),
        ],
    )
    def test_what_makes_no_sense_is_said_beside_what_was_typed(
        self, client: Client, ana: User, kind: Any, typed: str
    ) -> None:
        _, step = asks(type=kind)
        client.force_login(ana)
        response = client.post(self.page(step), {"field-answer": typed})
        assert response.status_code == 422
        assert "This answer was not taken" in response.content.decode()
        assert Step.objects.get(pk=step.pk).state == "held"

    def test_a_stale_page(self, client: Client, ana: User, ben: User) -> None:
        run, step = asks()
        services.answer_question(step.id, "main", by=ben)
        client.force_login(ana)
        response = client.post(self.page(step), {"field-answer": "savings"})
        assert response.status_code == 409
        assert "ben answered this at" in response.content.decode()
        assert finish(run) == "main"

    def test_who_may_not(self, client: Client, ana: User, ben: User) -> None:
        _, step = asks(to="finance", evidence=[{"source": "Bank", "text": "secret"}])
        client.force_login(ben)
        shown = client.get(self.page(step))
        assert "Only members of the group finance" in shown.content.decode()
        assert "<form class=" not in shown.content.decode().split("<main")[1].split("</main")[0]
        assert "secret" not in shown.content.decode()
        assert client.post(self.page(step), {"field-answer": "main"}).status_code == 403
        nobody = person("nobody", may=())
        client.force_login(nobody)
        assert client.get(self.page(step)).status_code == 403
        client.logout()
        assert client.post(self.page(step)).status_code == 302
        assert Step.objects.get(pk=step.pk).state == "held"

    def test_of_another_run_or_none(self, client: Client, ana: User) -> None:
        _, step = asks()
        client.force_login(ana)
        for url in (f"/runs/run_0/questions/{step.id}/", f"/runs/{step.run_id}/questions/stp_0/"):
            assert client.get(url).status_code == 404
            assert client.post(url, {"field-answer": "main"}).status_code == 404

    def test_the_run_and_the_list_say_what_is_asked_of_whom(
        self, client: Client, ana: User, ben: User
    ) -> None:
        run, step = asks(to="finance", timeout=3600)
        client.force_login(ana)
        shown = client.get(reverse("runs:run", args=[run.id])).content.decode()
        assert "for an answer: Which account?" in shown
        assert "Depends on the group finance" in shown
        assert f'href="{self.page(step)}">Answer now' in shown
        listed = client.get(reverse("runs:list")).content.decode()
        assert "Answer now" in listed
        assert "Which account?" in listed
        client.force_login(ben)
        shown = client.get(reverse("runs:run", args=[run.id])).content.decode()
        assert "for an answer: Which account?" in shown
        assert "Answer now" not in shown

    def test_the_queue_begins_with_the_questions_for_you(self, client: Client, ana: User, ben: User) -> None:
        _, step = asks(to="finance")
        for who in (ana, ben):
            who.user_permissions.add(Permission.objects.get(codename="view_approval"))
        client.force_login(ana)
        shown = client.get(reverse("approvals:queue")).content.decode()
        assert 'Questions for you <span class="count">1</span>' in shown
        assert self.page(step) in shown
        client.force_login(ben)
        assert "Questions for you" not in client.get(reverse("approvals:queue")).content.decode()

    def test_what_is_asked_is_escaped(self, client: Client, ana: User) -> None:
        @workflow.workflow("t.sly")
        def flow(run: Run, case: dict[str, Any]) -> Any:
            return run.ask("<script>1</script>\u202etxt", Literal["<b>", "b"])

        run = services.start_run("t.sly", {}, actor="user:omar")
        engine.advance(run.id, "wrk_a")
        client.force_login(ana)
        shown = client.get(self.page(run.steps.get())).content.decode()
        assert "<script>1" not in shown
        assert "\u202e" not in shown
        assert 'value="&lt;b&gt;"' in shown
