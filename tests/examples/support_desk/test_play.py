"""``support_desk play``: real workers, real people's decisions, and a judge that is not taken in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from approvals import rulebook
from approvals.models import Approval
from examples.support_desk import effects
from examples.support_desk.cases import Case
from examples.support_desk.demo_shop import CUSTOMERS, DEMO_SHOP
from examples.support_desk.loading import put
from examples.support_desk.play import decide_all, judge
from ops.demo_people import ensure_demo_people
from runs import engine, services
from runs.models import Run, Step
from tools import registry

RETAIL = os.environ.get("HOLDPOINT_RETAIL_DATA", "")

CANCELLED = DEMO_SHOP.orders["#H1002"] | {
    "status": "cancelled",
    "cancel_reason": "no longer needed",
    "payment_history": [
        {"transaction_type": "payment", "amount": 64.9, "payment_method_id": "gift_card_0007"},
        {"transaction_type": "refund", "amount": 64.900000000000006, "payment_method_id": "gift_card_0007"},
    ],
}
RICHER = json.loads(json.dumps(CUSTOMERS["maya_lind"]).replace('"15.00"', "79.9"))
CANCEL = {
    "tool": "cancel_pending_order",
    "arguments": {"order_id": "#H1002", "reason": "no longer needed"},
    "result": "{}",
}
BOTH_BACK = {
    "tool": "return_delivered_order_items",
    "arguments": {
        "order_id": "#H1003",
        "item_ids": ["p-headset-black", "p-chair-grey"],
        "payment_method_id": "credit_card_9921",
    },
    "result": "{}",
}
RETURNING = DEMO_SHOP.orders["#H1003"] | {
    "status": "return requested",
    "return_items": ["p-chair-grey", "p-headset-black"],
    "return_payment_method_id": "credit_card_9921",
}


def case(name: str, calls: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "task_id": name,
        "customer_id": "maya_lind",
        "request": "Please help me.",
        "calls": calls,
        "expected_changes": changes,
        "expected_outputs": [],
    }


REFUSED = CANCEL | {"arguments": {"order_id": "#H1001", "reason": "no longer needed"}, "result": "Error"}
CASES = [
    case("cancelled", [CANCEL], orders={"#H1002": CANCELLED}, users={"maya_lind": RICHER}),
    case("refused", [REFUSED]),
    case("approved", [BOTH_BACK], orders={"#H1003": RETURNING}),
    case("nothing to do", []),
    case("not as expected", [CANCEL], orders={"#H1002": CANCELLED}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.json").write_text(json.dumps(DEMO_SHOP.customers))
    (tmp_path / "products.json").write_text(json.dumps(DEMO_SHOP.products))
    (tmp_path / "orders.json").write_text(json.dumps(DEMO_SHOP.orders))
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in CASES))
    return tmp_path


def play(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """The exit code of a real play, its figures and all that it said."""
    database = "postgres" if connection.vendor == "postgresql" else "sqlite"
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "support_desk", "play"]
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [*command, "--db", database, "--json", *arguments], env=env, capture_output=True, text=True
    )
    assert done.stdout, done.stderr
    for kept in re.findall(r"are kept in (\S+)\.$", done.stdout, re.MULTILINE):
        shutil.rmtree(kept)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.processes
class TestPlay:
    def test_it_judges_every_case(self, folder: Path) -> None:
        code, figures, said = play("--data", str(folder), "--tasks", str(folder / "cases.jsonl"))

        assert code == 1
        assert (figures["tasks"], figures["as_expected"]) == (5, 4)
        assert figures["differ"] == ["not as expected"]
        assert "not as expected: customer maya_lind changed and should not have" in said
        assert (figures["approvals"], figures["repeated_writes"], figures["journals_broken"]) == (1, 0, 0)
        assert set(figures) == {
            "tasks",
            "as_expected",
            "differ",
            "approvals",
            "tool_calls",
            "killed_workers",
            "kills_with_call_in_flight",
            "takeovers",
            "fenced_writes",
            "repeated_writes",
            "journals_broken",
            "seconds",
        }

    @pytest.mark.skipif(not RETAIL, reason="HOLDPOINT_RETAIL_DATA does not name the folder of the data")
    def test_killed_workers_change_nothing(self) -> None:
        code, figures, said = play(
            "--data", RETAIL, "--tasks", f"{RETAIL}/tasks.jsonl", "--limit", "15", "--kill-workers"
        )

        assert code == 0, said
        assert figures["as_expected"] == 15
        assert figures["killed_workers"] > 0
        assert figures["takeovers"] > 0
        assert (figures["repeated_writes"], figures["journals_broken"]) == (0, 0)


class TestBadInput:
    """One line that names the cause and the cure, before anything is started."""

    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (lambda folder: (folder / "cases.jsonl").unlink(), "cases.jsonl is missing"),
            (lambda folder: (folder / "orders.json").write_text("{"), "orders.json is not JSON"),
            (lambda folder: (folder / "cases.jsonl").write_text("{}\n"), "line 1 is not a case"),
        ],
    )
    def test_it_refuses(self, folder: Path, spoil: Any, why: str) -> None:
        spoil(folder)
        with pytest.raises(CommandError, match=why):
            call_command("support_desk", "play", data=folder, tasks=folder / "cases.jsonl")

    def test_no_worker_is_too_few(self, folder: Path) -> None:
        with pytest.raises(CommandError, match="0 is not a whole number from 1 up"):
            call_command("support_desk", "play", "--data", str(folder), "--tasks", "cases", "--workers", "0")


@pytest.mark.django_db(transaction=True)
class TestJudge:
    @pytest.fixture(autouse=True)
    def shop(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        put(DEMO_SHOP)
        ensure_demo_people(tmp_path)
        rulebook.install_declared()
        monkeypatch.setenv("HOLDPOINT_EFFECTS_FILE", str(tmp_path / "effects.jsonl"))
        return tmp_path / "effects.jsonl"

    def played(self, number: int) -> tuple[Run, Case]:
        chosen = Case.model_validate(CASES[number])
        calls = [call.model_dump(mode="json") for call in chosen.calls]
        value = {"request": chosen.request, "shop": chosen.task_id, "calls": calls}
        run = services.start_run("support.request", value, actor="user:omar")
        engine.advance(run.id, "wrk_test")
        decide_all(list(User.objects.filter(username__in=["ana", "ben"])))
        engine.advance(run.id, "wrk_test")
        return run, chosen

    @pytest.mark.parametrize("number", range(4))
    def test_it_is_content_with_what_was_expected(self, number: int) -> None:
        run, chosen = self.played(number)
        assert judge(run.id, chosen) == []

    def test_it_misses_calls_that_are_not_on_record(self) -> None:
        run, chosen = self.played(1)
        Step.objects.filter(run=run, kind="tool").delete()
        assert judge(run.id, chosen) == ["0 calls are on record and 1 were planned"]

    def test_it_sees_a_run_that_did_not_end(self) -> None:
        chosen = Case.model_validate(CASES[2])
        value = {"request": "…", "shop": chosen.task_id, "calls": CASES[2]["calls"]}
        run = services.start_run("support.request", value, actor="user:omar")
        engine.advance(run.id, "wrk_test")
        found = judge(run.id, chosen)
        assert found[0] == "order #H1003 did not change and should have"
        assert "is waiting: a decision" in found[1]
        assert Approval.objects.pending().count() == 1

    def test_a_double_send_is_counted_though_it_changes_nothing(self, shop: Path) -> None:
        run, chosen = self.played(0)
        assert effects.repeated_writes(shop) == 0

        step = Step.objects.get(run=run, kind="tool")
        registry.get(step.name).invoke(step.arguments, step.key)

        assert judge(run.id, chosen) == []
        assert effects.repeated_writes(shop) == 1
