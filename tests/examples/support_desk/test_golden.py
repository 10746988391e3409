"""The golden histories of the support desk: the code fits all of them, and nobody in them is real."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from examples.support_desk import workflows
from examples.support_desk.demo_shop import DEMO_SHOP
from runs import workflow
from runs.replays import golden
from runs.replays.replay import replay

FOLDER = Path(workflows.__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*.json"))
#: Shapes of what must never lie in a repository: keys of providers, tokens, private keys, card numbers.
SECRETS = re.compile(
    r"sk-[A-Za-z0-9]{16}|ghp_|AKIA[0-9A-Z]{16}|PRIVATE KEY|\b\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}\b"
)


def test_there_is_one_for_each_way_that_a_case_goes() -> None:
    told = {path.stem: golden.read(path).run for path in FILES}
    assert {run.workflow for run in told.values()} == {"support.refund", "support.request"}
    assert {run.state for run in told.values()} == {"succeeded", "waiting"}
    assert len(FILES) == 7


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_code_fits(path: Path) -> None:
    report = replay(golden.read(path))
    assert report.matches, report.sentence
    assert report.steps  # what an agent that has ended did inside is not asked again


def test_code_that_asks_for_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    known = workflow.get("support.refund")

    def careless(run: Any, case: Any) -> Any:
        draft = type("Draft", (), {"amount": case.asked, "reasoning": "", "evidence": [], "confidence": 1.0})
        workflows.gather(run, case)
        return workflows.pay(run, case, draft)  # type: ignore[arg-type]

    made = dataclasses.replace(known, function=careless)
    monkeypatch.setitem(workflow._registry, ("support.refund", 1), made)
    parted = replay(golden.read(FOLDER / "large-refund.json")).divergence
    assert parted and (parted.path, parted.recorded.what) == ("5", "agent refund-analyst")
    assert parted.asked.what == "tool issue_refund"


def test_golden_histories_are_found_by_the_command() -> None:
    assert set(FILES) <= set(golden.discover())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_everybody_in_them_is_invented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    invented = json.dumps(DEMO_SHOP, default=str)
    assert {
        mail for mail in re.findall(r"[\w.+-]+@[\w.-]+", text) if not mail.endswith("@example.com")
    } == set()
    for customer in re.findall(r'"(?:user_id|customer_id)": "([^"]+)"', text):
        assert customer in invented, customer
    assert set(re.findall(r"#[HW]\d+", text)) <= set(re.findall(r"#[HW]\d+", invented)), (
        "another shop's order"
    )
    assert not SECRETS.search(text)
