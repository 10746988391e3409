"""Idempotency-Key: sent twice, done once, whatever dies in between."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from drf_spectacular.generators import SchemaGenerator

from runs import services, timers
from runs.api import kept
from runs.clock import db_now
from runs.models import KeptAnswer, Run
from tests.api.conftest import Caller, World, a_token

pytestmark = pytest.mark.django_db(transaction=True)
BODY = {"workflow": "test.looks"}


def test_it_works(omar: Caller) -> None:
    first, again = (omar.post("runs", BODY, Idempotency_Key="k1") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first["Location"] == again["Location"]
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert Run.objects.count() == 1


def test_another_key_is_another_run(omar: Caller) -> None:
    for key in ("k1", "k2"):
        assert omar.post("runs", BODY, Idempotency_Key=key).status_code == 201
    assert Run.objects.count() == 2


def test_the_order_of_keys_does_not_matter_but_content_does(omar: Caller) -> None:
    omar.post("runs", '{"workflow": "test.looks", "intent": "x"}', Idempotency_Key="k1")
    same = omar.post("runs", '{"intent": "x",   "workflow": "test.looks"}', Idempotency_Key="k1")
    assert same["Idempotent-Replayed"] == "true"
    other = omar.post("runs", '{"intent": "y", "workflow": "test.looks"}', Idempotency_Key="k1")
    assert other.status_code == 422
    assert "another request" in other.json()["detail"]
    assert Run.objects.count() == 1


def test_another_address_is_another_request(omar: Caller, world: World) -> None:
    run = world.runs["test.sleeps"].pk
    assert omar.post(f"runs/{run}/pause", {"reason": "x"}, Idempotency_Key="k1").status_code == 200
    assert omar.post(f"runs/{run}/cancel", {"reason": "x"}, Idempotency_Key="k1").status_code == 422


def test_each_actor_has_keys_of_their_own(people: dict[str, User]) -> None:
    people["ben"].groups.set(people["omar"].groups.all())
    for caller in (Caller(people["omar"]), Caller(people["ben"])):
        assert caller.post("runs", BODY, Idempotency_Key="k1").status_code == 201
    assert Run.objects.count() == 2
    # The same person through another door: the same request.
    token = Caller(secret=a_token(people["omar"])[1])
    assert token.post("runs", BODY, Idempotency_Key="k1")["Idempotent-Replayed"] == "true"


def test_a_kept_answer_is_only_for_those_who_may(people: dict[str, User]) -> None:
    omar = Caller(people["omar"])
    omar.post("runs", BODY, Idempotency_Key="k1")
    people["omar"].groups.clear()
    assert omar.post("runs", BODY, Idempotency_Key="k1").status_code == 403


def test_a_refusal_is_not_kept(omar: Caller, world: World) -> None:
    run = world.runs["test.sleeps"].pk
    assert omar.post(f"runs/{run}/resume", {"reason": "x"}, Idempotency_Key="k1").status_code == 409
    assert not KeptAnswer.objects.exists()
    omar.post(f"runs/{run}/pause", {"reason": "x"})
    assert omar.post(f"runs/{run}/resume", {"reason": "x"}, Idempotency_Key="k1").status_code == 200


def test_a_crash_in_the_middle_keeps_nothing(omar: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        original = KeptAnswer.save

        def save(self: KeptAnswer, *args: Any, **more: Any) -> None:
            if more.get("update_fields"):
                raise RuntimeError("killed after the act, before the answer was kept")
            original(self, *args, **more)

        patched.setattr(KeptAnswer, "save", save)
        assert omar.post("runs", BODY, Idempotency_Key="k1").status_code == 500
    assert (Run.objects.count(), KeptAnswer.objects.count()) == (0, 0)
    assert omar.post("runs", BODY, Idempotency_Key="k1").status_code == 201
    assert Run.objects.count() == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "é"])
def test_bad_keys_are_refused(omar: Caller, key: str) -> None:
    assert omar.post("runs", BODY, Idempotency_Key=key).status_code == 400
    assert not Run.objects.exists()


def test_many_at_once_do_it_once(people: dict[str, User]) -> None:
    callers = [Caller(people["omar"]) for _ in range(4)]
    together, answers = threading.Barrier(4), []

    def ask(caller: Caller) -> None:
        together.wait()
        answers.append(caller.post("runs", BODY, Idempotency_Key="k1"))
        connections.close_all()

    threads = [threading.Thread(target=ask, args=[caller]) for caller in callers]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Run.objects.count() == 1


@pytest.mark.postgres
def test_a_request_under_way_is_told(people: dict[str, User], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WAIT_MS", 50)
    begun, go_on = threading.Event(), threading.Event()
    original = services.start_run

    def slow(*args: Any, **more: Any) -> Run:
        begun.set()
        go_on.wait(30)
        return original(*args, **more)

    monkeypatch.setattr("runs.services.start_run", slow)
    answers = []

    def ask() -> None:
        answers.append(Caller(people["omar"]).post("runs", BODY, Idempotency_Key="k1"))
        connections.close_all()

    first = threading.Thread(target=ask)
    first.start()
    assert begun.wait(30)
    second = Caller(people["omar"]).post("runs", BODY, Idempotency_Key="k1")
    go_on.set()
    first.join(30)
    assert second.status_code == 409
    assert second.json()["type"].endswith(":in_progress")
    assert answers[0].status_code == 201
    assert Run.objects.count() == 1


def test_a_day_later_it_is_forgotten(omar: Caller) -> None:
    omar.post("runs", BODY, Idempotency_Key="old")
    omar.post("runs", BODY, Idempotency_Key="new")
    KeptAnswer.objects.filter(key="old").update(created_at=db_now() - timedelta(days=1, seconds=1))
    assert timers._caretakers["runs.kept_answers"]() == 1
    assert timers._caretakers["runs.kept_answers"]() == 0
    assert [each.key for each in KeptAnswer.objects.all()] == ["new"]


def test_an_old_answer_counts_no_more_even_before_it_is_swept(omar: Caller) -> None:
    omar.post("runs", BODY, Idempotency_Key="k1")
    KeptAnswer.objects.update(created_at=db_now() - timedelta(days=1, seconds=1))
    again = omar.post("runs", BODY, Idempotency_Key="k1")
    assert "Idempotent-Replayed" not in again
    assert Run.objects.count() == 2


def test_every_post_that_changes_something_takes_a_key() -> None:
    schema = SchemaGenerator().get_schema(public=True)
    without = {
        operation["post"]["operationId"]
        for operation in schema["paths"].values()
        if "post" in operation
        and "Idempotency-Key" not in [each["name"] for each in operation["post"].get("parameters", [])]
    }
    assert without == {"replay_run"}
