"""/healthz: 200 only when runs can go on."""

from datetime import timedelta

import pytest
from celery import current_app
from django.test import Client

from ops import health
from ops.launch.broker import Broker
from runs.clock import db_now
from runs.models import Worker

pytestmark = pytest.mark.django_db


@pytest.fixture
def reached(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_app.conf, "broker_url", broker.url)
    monkeypatch.setattr(current_app.conf, "broker_write_url", broker.url)


def worker(queues: str, *, age: timedelta = timedelta()) -> None:
    then = db_now() - age
    Worker.objects.create(
        id=f"wrk_{queues}", host="here", pid=1, queues=queues, pool="threads", started_at=then, beat_at=then
    )


@pytest.mark.usefixtures("reached")
class TestHealthz:
    def test_all_is_there(self) -> None:
        worker("agents,runs")
        answer = Client().get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "missing": []})
        assert "no-cache" in answer.headers["Cache-Control"]

    @pytest.mark.parametrize(("queues", "age"), [("tools", timedelta()), ("runs", timedelta(minutes=5))])
    def test_another_worker_or_a_silent_one_does_not_count(self, queues: str, age: timedelta) -> None:
        worker(queues, age=age)
        answer = Client().get("/healthz")
        assert (answer.status_code, answer.json()["missing"]) == (503, ["worker"])

    def test_it_only_answers_questions(self) -> None:
        assert Client().post("/healthz").status_code == 405


def test_without_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    # In this order: until it is set itself, broker_write_url reads broker_url, and would be put back to that.
    monkeypatch.setattr(current_app.conf, "broker_write_url", "redis+socket:///nowhere/broker.sock")
    monkeypatch.setattr(current_app.conf, "broker_url", "redis+socket:///nowhere/broker.sock")
    assert health.missing() == ["broker", "worker"]
