"""What the settings promise, asked of the things themselves."""

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection
from django.test import Client

STRICT = (
    "default-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "form-action 'self'",
)


def policy(path: str) -> str:
    return Client().get(path).headers["Content-Security-Policy"]


@pytest.mark.django_db
class TestHeaders:
    @pytest.mark.parametrize("path", ["/healthz", "/no-such-page"])
    def test_pages_are_strict(self, path: str) -> None:
        assert all(rule in policy(path) for rule in STRICT)
        assert "unsafe" not in policy(path)

    def test_the_admin_alone_is_relaxed(self) -> None:
        relaxed = policy("/admin/login/")
        assert all(rule in relaxed for rule in STRICT)
        assert "'unsafe-eval'" in relaxed

    def test_the_rest(self) -> None:
        headers = Client().get("/healthz").headers
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


class TestQueues:
    def test_each_has_an_exchange_of_its_own(self) -> None:
        queues = current_app.conf.task_queues
        assert [queue.name for queue in queues] == ["runs", "agents", "tools", "caretakers"]
        assert all(queue.exchange.name == queue.name == queue.routing_key for queue in queues)

    def test_messages_are_hints(self) -> None:
        conf = current_app.conf
        assert not conf.task_acks_late
        assert not conf.task_publish_retry
        assert not conf.worker_enable_remote_control
        assert conf.result_backend is None
        assert conf.accept_content == ["json"]

    def test_the_clock_calls_a_known_name(self) -> None:
        current_app.loader.import_default_modules()
        assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= set(current_app.tasks)


def ask(statement: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


@pytest.mark.django_db
class TestDatabase:
    @pytest.mark.sqlite
    def test_sqlite(self) -> None:
        assert ask("pragma journal_mode") == "wal"
        assert ask("pragma foreign_keys") == 1
        assert ask("pragma busy_timeout") == 20000

    @pytest.mark.postgres
    def test_postgresql(self) -> None:
        assert ask("show statement_timeout") == "1min"
        assert ask("show lock_timeout") == "15s"
        assert ask("show idle_in_transaction_session_timeout") == "1min"
        assert connection.connection.prepare_threshold == 5
