"""The digest of a workflow's code: what moves it, what does not, and what a run says about it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runs import engine, services, workflow
from runs.code import digest_of
from runs.context import Run
from runs.workflow import Workflow

BASE = '''
"""A module."""

LIMIT = 3
UNUSED = 1


def helper(number):
    """Doubles."""
    return deeper(number) * LIMIT


def deeper(number):
    # A comment.
    return number + 1


def stranger():
    return UNUSED


def flow(run, case):
    """What it does."""
    return helper(case["number"])
'''


def module(folder: Path, name: str, text: str) -> ModuleType:
    place = folder / f"{name}.py"
    place.write_text(text)
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def digest(folder: Path, name: str, text: str) -> str:
    return digest_of(Workflow("t.code", 1, module(folder, name, text).flow))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""What it does."""', '"""What it really does."""'),
        ("# A comment.", "# Another comment."),
        ("return number + 1", "return (\n        number\n        + 1\n    )"),
        ("UNUSED = 1", "UNUSED = 2"),
        ("def stranger():\n    return UNUSED", "def stranger():\n    return 0"),
    ],
)
def test_what_the_workflow_does_not_use_or_do_leaves_it(tmp_path: Path, old: str, new: str) -> None:
    assert old in BASE
    assert digest(tmp_path, "hp_a", BASE) == digest(tmp_path, "hp_b", BASE.replace(old, new)) != ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("return number + 1", "return number + 2"),
        ('case["number"]', 'case["amount"]'),
    ],
)
def test_what_it_uses_moves_it_however_far_away(tmp_path: Path, old: str, new: str) -> None:
    assert old in BASE
    assert digest(tmp_path, "hp_c", BASE) != digest(tmp_path, "hp_d", BASE.replace(old, new))


def test_another_process_finds_the_same() -> None:
    """Strings hash differently in every process; the digest must not."""
    code = (
        "import os, django; os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'config.settings'); "
        "django.setup(); from runs import workflow; from runs.code import digest_of; "
        "print(digest_of(workflow.get('support.refund')))"
    )
    here = digest_of(workflow.get("support.refund"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == here != ""


@pytest.mark.django_db(transaction=True)
def test_a_run_says_once_that_its_code_changed(open_gate: None) -> None:
    @workflow.workflow("t.moves")
    def flow(run: Run, case: dict[str, Any]) -> str:
        run.sleep(3600)
        return "done"

    run = services.start_run("t.moves", {}, actor="user:ana")
    assert run.code == digest_of(workflow.get("t.moves"))
    engine.advance(run.id, "wrk_a")
    workflow._registry.pop(("t.moves", 1))

    @workflow.workflow("t.moves")
    def other(run: Run, case: dict[str, Any]) -> str:
        run.sleep(3600)
        return "done, and said otherwise"

    for _ in range(2):
        _wake(run.id)
        engine.advance(run.id, "wrk_a")
    run.refresh_from_db()
    assert run.code == digest_of(workflow.get("t.moves"))
    assert run.journal.filter(kind="run.code_changed").count() == 1
    assert run.state == "waiting"


def _wake(run_id: str) -> None:
    from runs.turns.checkpoint import own_transaction

    with own_transaction():
        services.wake(services.lock_run(run_id))
