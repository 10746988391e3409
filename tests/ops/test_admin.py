"""The admin is a window: for every model of ours, no request changes a row; content is for those who may."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from approvals import rulebook, services
from approvals.models import Approval, Decision, Policy
from runs.models import JournalEntry, Run, Step, Worker
from tests.approvals.conftest import a_call, a_run, an_approval
from tests.tools.test_tool_calls import in_doubt
from tools.canonical import new_id
from tools.clock import db_now
from tools.models import ToolCall

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "card 4411-0007"
WINDOWS = (Run, Step, JournalEntry, Worker, ToolCall, Approval, Decision)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[type[Model], Model]:
    """One row of each."""
    monkeypatch.setattr("runs.messages.send", lambda *hint: None)
    run = a_run()
    Run.objects.filter(pk=run.pk).update(input={"secret": SECRET})
    now = db_now()
    step = Step.objects.create(
        id=new_id("stp"), run=run, path="1", position=1, kind="tool", name="look", fingerprint="f", epoch=1,
        arguments={"secret": SECRET}, result=SECRET, started_at=now,
    )  # fmt: skip
    worker = Worker.objects.create(
        id="wrk_1", host="h", pid=1, process_started="1", queues="runs", pool="threads", started_at=now,
        beat_at=now,
    )  # fmt: skip
    approval = an_approval(a_call(run))
    bea = User.objects.create_user("bea")
    bea.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    decision = services.decide(approval.pk, by=bea, verdict="approve", digest=approval.digest)
    entry = JournalEntry.objects.filter(run=run).latest("seq")
    found = (run, step, entry, worker, in_doubt(), approval, decision)
    return dict(zip(WINDOWS, found, strict=True))


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def url(row: Model, page: str) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}"
    return reverse(name, args=[] if page in ("changelist", "add") else [row.pk])


def values(model: type[Model]) -> list[dict[str, Any]]:
    return list(model._default_manager.order_by("pk").values())


def test_every_model_of_ours_is_there() -> None:
    ours = {m for app in ("tools", "runs", "approvals") for m in apps.get_app_config(app).get_models()}
    shown = {model for model in ours if not model.__name__.startswith("Historical")}
    assert shown <= set(admin.site._registry)


@pytest.mark.parametrize("model", WINDOWS)
class TestWindow:
    def test_it_shows(self, root: Client, rows: dict[type[Model], Model], model: type[Model]) -> None:
        row = rows[model]
        assert root.get(url(row, "changelist")).status_code == 200
        assert root.get(url(row, "changelist"), {"q": str(row.pk)}).status_code == 200
        assert root.get(url(row, "change")).status_code == 200
        assert root.get(url(row, "history")).status_code == 200

    def test_nothing_can_be_changed(
        self, root: Client, rows: dict[type[Model], Model], model: type[Model]
    ) -> None:
        row, before = rows[model], values(model)
        forged = {field.name: "approved" for field in model._meta.fields} | {
            "_save": "Save",
            "state": "succeeded",
        }
        for page in ("add", "change", "delete"):
            assert root.post(url(row, page), forged | {"post": "yes"}).status_code == 403
        action = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
        root.post(url(row, "changelist"), action)
        assert values(model) == before

    def test_history_is_not_a_way_back(
        self, root: Client, rows: dict[type[Model], Model], model: type[Model]
    ) -> None:
        if not hasattr(model, "history"):
            return
        row, before = rows[model], values(model)
        version = model.history.first()  # type: ignore[attr-defined]
        assert version is not None or model is Step
        if version is not None:
            name = f"admin:{row._meta.app_label}_{row._meta.model_name}_simple_history"
            place = reverse(name, args=[row.pk, version.pk])
            assert root.get(place).status_code == 200
            forged = {field.name: "1" for field in model._meta.fields if field.name != "state"}
            assert root.post(place, forged | {"_save": "Save"}).status_code == 403
        assert values(model) == before


class TestContent:
    def staff(self, *permissions: str) -> Client:
        person = User.objects.create_user("ada", is_staff=True)
        person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(person)
        return client

    @pytest.mark.parametrize("model", [Run, Step])
    def test_it_is_for_engineers_alone(self, rows: dict[type[Model], Model], model: type[Model]) -> None:
        looks = [f"view_{model._meta.model_name}"]
        page = self.staff(*looks).get(url(rows[model], "change"))
        assert page.status_code == 200
        assert SECRET not in page.content.decode()
        User.objects.all().filter(username="ada").delete()
        page = self.staff(*looks, "view_technical").get(url(rows[model], "change"))
        assert SECRET in page.content.decode()


def test_reading_the_history_of_a_policy_is_no_way_to_change_it() -> None:
    """Whoever may look at policies may not put one in force by posting an old version of it."""
    policy = rulebook.revise("refunds", {"conditions": {"tools": ["pay_back"]}}, actor="user:risk")
    person = User.objects.create_user("ada", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="view_policy"))
    client = Client()
    client.force_login(person)
    before = values(Policy)
    version = policy.history.latest()
    place = reverse("admin:approvals_policy_simple_history", args=[policy.pk, version.pk])
    terms = {field.name: getattr(policy, field.name) or "" for field in Policy._meta.fields}
    answer = client.post(place, {**terms, "conditions": "{}", "quorum": 1, "tier": "stop", "order": 1})
    assert answer.status_code == 403
    assert values(Policy) == before
