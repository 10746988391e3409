"""The tutorial's app, written out as the tutorial says and run as a reader would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT, blocks, complete_files

TUTORIAL = DOCS / "tutorial.md"
NOT_INHERITED = (
    "DATABASE_URL",
    "REDIS_URL",
    "DJANGO_SETTINGS_MODULE",
    "HOLDPOINT_TEST_DATA",
    "HOLDPOINT_ACTIVATION",
)

pytestmark = pytest.mark.sqlite


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of it."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, text in {"invoices/__init__.py": "", **complete_files(TUTORIAL)}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    env |= {
        "HOLDPOINT_DATA": str(folder / "data"),
        "HOLDPOINT_APPS": "invoices",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
    }
    script = Path(__file__).with_name("tutorial_story.py")
    done = subprocess.run(
        [sys.executable, str(script)], env=env, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_it_pays_what_one_person_signed(told: dict[str, Any]) -> None:
    assert told["runs"]["small"]["state"] == "succeeded"
    assert told["runs"]["small"]["output"].startswith("Paid as T-")
    assert [line.get("amount") for line in told["bank"]] == ["420.00", None]


def test_it_prints_the_journal_that_the_reader_sees(told: dict[str, Any]) -> None:
    shown = [line for block in blocks(TUTORIAL, "text") for line in block.text.splitlines()]
    assert told["runs"]["small"]["sentences"] == shown


def test_it_counts_a_first_yes_and_takes_a_no(told: dict[str, Any]) -> None:
    large = told["runs"]["large"]
    assert (large["state"], large["output"]) == ("succeeded", "Not paid: Not ordered by us")
    assert any("ana approved (1 of 2)" in sentence for sentence in large["sentences"])


def test_it_asks_nobody_about_what_the_tool_refuses(told: dict[str, Any]) -> None:
    again = told["runs"]["again"]
    assert again["state"] == "failed"
    assert "is paid already" in again["output"]["error"]["message"]


def test_every_journal_verifies(told: dict[str, Any]) -> None:
    assert [run["breaks"] for run in told["runs"].values()] == [0, 0, 0]
