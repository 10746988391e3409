"""Run as a script, in a process of its own: the same work on whichever database, told as JSON.

``rows`` plays one run with every kind of step and prints what is on record; what must differ (ids, times,
hashes, random values) is replaced by labels. ``statements`` prints what the server counted for some turns.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import django

if __name__ == "__main__":
    django.setup()

from django.contrib.auth.models import Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from approvals import services as approvals  # noqa: E402
from approvals.models import Approval  # noqa: E402
from runs import engine, services, timers, workflow  # noqa: E402
from runs.context import Run  # noqa: E402
from runs.gate import Rejected  # noqa: E402
from runs.models import Run as RunRow  # noqa: E402
from runs.models import Step  # noqa: E402
from runs.steps.message import TimedOut  # noqa: E402
from tests.record import Rows, everything  # noqa: E402
from tools import registry  # noqa: E402
from tools.contract import IdempotencyKey, Money  # noqa: E402
from tools.failures import Refused, Transient  # noqa: E402

WORKER = "wrk_measured"


class Case(BaseModel):
    """How many reads and writes."""

    reads: int = 0
    writes: int = 0


def declare() -> None:
    """The tools and workflows of both measurements."""
    tried: list[str] = []

    @registry.tool(effect="read", name="measured_read")
    def read(number: int) -> dict[str, int]:
        return {"number": number}

    @registry.tool(effect="read", name="measured_busy")
    def busy(number: int) -> int:
        tried.append("again")
        if len(tried) == 1:
            raise Transient("busy, try again")
        return number

    @registry.tool(effect="write", risk="low", name="measured_write", rollback="None")
    def write(number: int, *, key: IdempotencyKey) -> str:
        return f"wrote {number}"

    @registry.tool(effect="write", risk="low", name="measured_refusal", rollback="None")
    def refuse(*, key: IdempotencyKey) -> str:
        raise Refused("The shop is closed.")

    @registry.tool(effect="irreversible", risk="high", name="measured_payment", rollback="None")
    def pay(amount: Money, *, key: IdempotencyKey) -> str:
        return f"paid {amount} \u2013 \u00e9\U0001f600"

    @registry.tool(effect="read", name="measured_large")
    def large() -> dict[str, Any]:
        return {"text": "\u00e9" * 150_000, "b": 1.0, "a": None}

    @workflow.workflow("measured.letters")
    def letters(run: Run, case: Case) -> list[Any]:
        run.progress("Begins", 0, 2)
        kept = run.artifact("letter", {"b": 1.5, "a": "\u00e9"}, title="A letter")
        run.artifact("letter", b"\x00\xff", media_type="image/png")
        sure = run.ask("Sure? \u00e9", bool, evidence=[{"source": "order", "text": "a\u00e9"}])
        try:
            run.wait_for("never", timeout=3600)
        except TimedOut as late:
            run.progress(str(late))
        told = [run.wait_for("go", dict[str, Any]), run.patched("louder"), [*run.tool(large)]]
        return [sure, *told, run.read_artifact(kept), len(run.read_artifact("letter"))]

    @workflow.workflow("measured.many")
    def many(run: Run, case: Case) -> int:
        for number in range(case.reads):
            run.tool(read, number)
        for number in range(case.writes):
            run.tool(write, number)
        return case.reads + case.writes

    @workflow.workflow("measured.every")
    def every(run: Run, case: Case) -> list[Any]:
        taken = [run.now().year > 2000, run.random() < 1, len(str(run.uuid()))]
        seen = [run.tool(read, 1), run.tool(busy, 2), run.tool(write, 3)]
        run.sleep(3600)
        try:
            run.tool(refuse)
        except Refused as error:
            seen.append(str(error))
        seen.append(run.tool(pay, Decimal("12.50"), why="It broke.", confidence=0.75))
        try:
            run.tool(pay, Decimal("99.00"), evidence=[{"source": "order", "text": "a\u00e9"}])
        except Rejected as verdict:
            seen.append(verdict.reason)
        return [*taken, *seen]


# The same rows


def play() -> None:
    """One run with every kind of step, to its end."""
    person = User.objects.create_user("bea", password="x")
    person.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    run = services.start_run("measured.every", {}, actor="user:ana", intent="All of it", source="test")
    engine.advance(run.pk, WORKER)  # to the read that is busy
    _later(run)
    engine.advance(run.pk, WORKER)  # to the sleep
    _later(run)
    engine.advance(run.pk, WORKER)  # to the payment
    _decide(run, person, "approve")
    engine.advance(run.pk, WORKER)  # to the second one
    _decide(run, person, "reject", reason="Too much.", next="continue")
    engine.advance(run.pk, WORKER)
    row = RunRow.objects.get(pk=run.pk)
    assert row.state == "succeeded", (row.state, row.output, row.attention)


def play_letters() -> None:
    """One run that asks, waits and keeps, to its end."""
    person = User.objects.create_user("ben", password="x")
    person.user_permissions.add(Permission.objects.get(codename="answer_question"))
    run = services.start_run("measured.letters", {}, actor="user:ana", intent="Letters", source="test")
    engine.advance(run.pk, WORKER)  # to the question
    services.answer_question(Step.objects.get(run=run, state="held").pk, True, by=person)
    engine.advance(run.pk, WORKER)  # to the message that never comes
    _later(run)
    engine.advance(run.pk, WORKER)  # to the one that does
    services.send_message(run.pk, "go", {"bb": 1.0, "a\x00": [None]}, actor="user:bank", key="k")
    engine.advance(run.pk, WORKER)
    row = RunRow.objects.get(pk=run.pk)
    expected = [True, {"a\ufffd": [None], "bb": 1.0}, True, ["a", "b", "text"], {"a": "\u00e9", "b": 1.5}, 2]
    assert (row.state, row.output) == ("succeeded", expected), (row.state, row.output, row.attention)


def _later(run: RunRow) -> None:
    past = run.created_at - timedelta(minutes=1)
    Step.objects.filter(run=run, state="waiting").update(due_at=past)
    RunRow.objects.filter(pk=run.pk).update(wake_at=past)
    timers.wake_due_runs()


def _decide(run: RunRow, by: User, verdict: str, **more: Any) -> None:
    asked = Approval.objects.get(run=run, state="pending")
    approvals.decide(asked.pk, by=by, verdict=verdict, digest=asked.digest, **more)


#: Rows that migrations make, not runs.
NOT_OF_RUNS = ("approvals_policy", "approvals_historicalpolicy")
MASKS = [
    ("time", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?")),
    ("time", re.compile(r"\b\d\d:\d\d:\d\d\b")),
    ("uuid", re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")),
    ("hash", re.compile(r"\b([0-9a-f]{64}|[0-9a-f]{40})\b")),
    ("id", re.compile(r"\b[a-z]+_[a-z0-9]{26}\b")),
    ("random", re.compile(r"\b\d\.\d{6,}(e-\d+)?\b")),
]
SAME_EACH_TIME = ("time", "random")


class Labels:
    """The same value gets the same label: which rows point at each other is compared, ids are not."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, kind: str, text: str) -> str:
        if kind in SAME_EACH_TIME:
            return f"<{kind}>"
        return self._known.setdefault(f"{kind} {text}", f"<{kind} {len(self._known)}>")


def dump(rows: Rows) -> dict[str, list[dict[str, str]]]:
    """The rows with labels, in an order that does not hang on ids."""
    kept = {table: found for table, found in sorted(rows.items()) if table not in NOT_OF_RUNS}
    shape = {table: sorted(found, key=lambda row: repr(_row(row, None))) for table, found in kept.items()}
    labels = Labels()
    return {table: [_row(row, labels) for row in found] for table, found in shape.items()}


def _row(row: dict[str, Any], labels: Labels | None) -> dict[str, str]:
    return {column: _masked(column, value, labels) for column, value in row.items()}


def _masked(column: str, value: Any, labels: Labels | None) -> str:
    if isinstance(value, datetime):
        return "<time>"
    if column.endswith("_ms"):
        return "<length>"
    if isinstance(value, bytes | memoryview):
        value = bytes(value).hex()
    elif isinstance(value, int) and not isinstance(value, bool) and column.endswith("id"):
        return "<key>"
    elif not isinstance(value, str):
        value = json.dumps(value, sort_keys=True, ensure_ascii=False, default=repr)
    for kind, pattern in MASKS:
        value = pattern.sub(lambda m, kind=kind: labels.of(kind, m[0]) if labels else f"<{kind}>", value)
    return str(value)


# Statements


def count(**case: int) -> dict[str, int]:
    """What the server counted, by statement, for the whole turn of one run."""
    run = services.start_run("measured.many", case, actor="user:ana")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_statements_reset()")
    engine.advance(run.pk, WORKER)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT query, sum(calls) FROM pg_stat_statements WHERE query NOT LIKE %s GROUP BY query",
            ["%pg_stat_statements%"],
        )
        return {query: int(calls) for query, calls in cursor.fetchall()}


def statements() -> dict[str, dict[str, int]]:
    """Turns with nothing to do, with a few steps, and with ten more of them."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION pg_stat_statements")
    count(reads=2, writes=2)  # what is read once a process is read
    return {
        "nothing": count(),
        "few reads": count(reads=5),
        "more reads": count(reads=15),
        "few writes": count(writes=5),
        "more writes": count(writes=15),
    }


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    declare()
    if sys.argv[1] == "rows":
        play()
        play_letters()
        told: Any = dump(everything())
    else:
        told = statements()
    sys.stdout.write(json.dumps(told))
