"""`manage.py worker`: what it becomes, and what it refuses."""

from __future__ import annotations

import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from config.management.commands import up, worker
from ops import health
from runs.crew import workers
from tools import registry


class Became(Exception):
    """Another program, with these arguments and this environment."""


@pytest.fixture(autouse=True)
def with_a_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def become(program: str, command: list[str], environment: dict[str, str]) -> None:
        raise Became(program, command, environment)

    monkeypatch.setattr(worker.os, "execve", become)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(health, "broker_answers", lambda: True)


def became(*arguments: str) -> tuple[str, list[str], dict[str, str]]:
    with pytest.raises(Became) as told:
        call_command("worker", *arguments, stdout=StringIO())
    return told.value.args[0], told.value.args[1], told.value.args[2]


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        (["payments"], "--queues payments --pool prefork --concurrency 1"),
        (["tools", "payments", "tools"], "--queues tools,payments --pool prefork --concurrency 1"),
        (["runs", "agents", "caretakers"], "--queues runs,agents,caretakers --pool threads --concurrency 8"),
        (["runs", "payments"], "--queues runs,payments --pool prefork --concurrency 1"),
        (["mail", "--pool", "threads"], "--queues mail --pool threads --concurrency 8"),
        (["runs", "--concurrency", "32"], "--queues runs --pool threads --concurrency 32"),
    ],
)
def test_it_becomes_a_worker(arguments: list[str], shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLDPOINT_DATABASE_POOL", raising=False)
    program, command, environment = became(*arguments)
    assert program == command[0] == sys.executable
    assert shape in " ".join(command)
    assert environment.get("HOLDPOINT_DATABASE_POOL") == ("0" if "prefork" in shape else None)


@pytest.mark.parametrize(
    "arguments",
    [["pay,ments"], ["Pay"], [""], ["-x"], [], ["runs", "--concurrency", "0"], ["runs", "--pool", "solo"]],
)
def test_it_refuses_what_is_no_queue_or_no_number(arguments: list[str]) -> None:
    with pytest.raises((CommandError, SystemExit, TypeError)):
        call_command("worker", *arguments, stdout=StringIO())


def test_it_says_that_there_is_no_private_broker(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(health, "broker_answers", lambda: False)
    settings.REDIS_URL = ""
    with pytest.raises(CommandError, match=r"start python3 manage\.py up"):
        call_command("worker", "payments", stdout=StringIO())
    settings.REDIS_URL = "redis://elsewhere"
    became("payments")  # it waits until that one is there


@pytest.mark.django_db
def test_the_launcher_names_queues_that_it_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDPOINT_DATA", "/somewhere else")
    with registry.scratch():

        @registry.tool(effect="read", queue="payments")
        def balance() -> int:
            return 3

        @registry.tool(effect="read", queue="tools")
        def weigh() -> int:
            return 3

        said = StringIO()
        up.Command(stdout=said)._point_out_queues()
        start = "HOLDPOINT_DATA='/somewhere else' python3 manage.py worker payments"
        assert f"No worker listens on queue payments; start one: {start}\n" in said.getvalue()
        assert "queue tools" not in said.getvalue()
        monkeypatch.setattr(workers, "anyone_listens_to", lambda queue: True)
        said.truncate(0)
        up.Command(stdout=said)._point_out_queues()
        assert "payments" not in said.getvalue()
