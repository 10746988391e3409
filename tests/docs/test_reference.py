"""The reference leaves nothing out: settings, parameters, hooks, states."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from approvals.declared import policy
from runs.agent import Limits, agent
from runs.context import Run
from runs.workflow import Budget, workflow
from tests.docs import diagrams
from tests.docs.pages import DOCS, ROOT
from tools.registry import tool

APPS = ("config", "tools", "runs", "approvals", "ops", "examples")
READERS = {"amount", "get", "flag", "words", "whole", "getenv", "pop", "setdefault"}
_NAME = re.compile(r"[A-Z][A-Z0-9_]+")
#: Of the system and of Python, not ours to document.
FOREIGN = {"CELERY_SKIP_CHECKS", "DEBIAN_FRONTEND", "__PYVENV_LAUNCHER__", "PYTHONUNBUFFERED"}
DECLARATIONS = (DOCS / "reference" / "declarations.md").read_text(encoding="utf-8")
SETTINGS = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")


def environment_names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every environment variable that the code reads by a literal name, with its literal default or ''."""
    for item in ast.walk(tree):
        if isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.args:
            name, reads = item.args[0], ast.unparse(item.func)
            environs = "environ" in reads or reads.startswith("environment.")
            if environs and item.func.attr in READERS and isinstance(name, ast.Constant):
                default = item.args[1] if len(item.args) > 1 else None
                plain = isinstance(default, ast.Constant) and default.value not in ("", None)
                yield str(name.value), str(default.value) if plain else ""  # type: ignore[union-attr]
        elif (
            isinstance(item, ast.Subscript)
            and isinstance(item.slice, ast.Constant)
            and ast.unparse(item.value).endswith("environ")
        ):
            yield str(item.slice.value), ""


def read_in_code() -> dict[str, str]:
    found = {"HOLDPOINT_TEST_DATA": "", "HOLDPOINT_READY_FILE": "", "CI": ""}
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            found |= dict(environment_names(ast.parse(path.read_text(encoding="utf-8"))))
    return {name: default for name, default in found.items() if _NAME.fullmatch(name) and name not in FOREIGN}


def documented_settings() -> dict[str, str]:
    return dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", SETTINGS, re.MULTILINE))


def test_every_setting_that_is_read_is_documented_and_no_other() -> None:
    assert set(documented_settings()) == set(read_in_code())


def test_a_constant_default_is_the_documented_one() -> None:
    same = {"True": "1", "False": "0"}
    for name, default in read_in_code().items():
        if default and name.startswith("HOLDPOINT_"):
            assert documented_settings()[name] == f"`{same.get(default, default)}`", name


def section(title: str) -> str:
    return DECLARATIONS.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "function"), [("tool", tool), ("policy", policy), ("workflow", workflow), ("agent", agent)]
)
def test_every_parameter_is_documented(title: str, function: object) -> None:
    parameters = inspect.signature(function).parameters  # type: ignore[arg-type]
    missing = [name for name in parameters if f"`{name}`" not in section(title)]
    assert missing == []


def test_every_parameter_of_limits_and_budgets_is_documented() -> None:
    names = [*inspect.signature(Limits).parameters, *inspect.signature(Budget).parameters]
    assert [name for name in names if name not in DECLARATIONS] == []


def test_every_hook_is_documented_here_and_explained() -> None:
    explained = (DOCS / "how-to" / "write-a-tool.md").read_text(encoding="utf-8")
    tools = (ROOT / "tools" / "contract.py").read_text(encoding="utf-8")
    hooks = set(re.findall(r'_set_hook\("(\w+)"', tools))
    assert hooks == {"preview", "precondition", "facts", "lookup", "undo"}
    assert [hook for hook in hooks if f"`{hook}`" not in section("tool")] == []
    assert [hook for hook in hooks if f"### {hook}" not in explained] == []


def test_everything_that_a_run_offers_is_documented() -> None:
    offered = [name for name in vars(Run) if not name.startswith("_")]
    assert [name for name in offered if f"run.{name}" not in section("Run")] == []


@pytest.mark.parametrize("path", [DOCS / "how-to" / "runs-that-need-attention.md"])
def test_every_code_of_attention_has_its_line(path: Path) -> None:
    sources = [*(ROOT / "runs").rglob("*.py")]
    text = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    codes = set(re.findall(r'(?:NeedsAttention\(\s*|_halt\(turn, |"code": )"(\w+)"', text))
    assert codes == set(re.findall(r"^\| `(\w+)` \|", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_what_the_page_of_the_night_looks_for_is_written_somewhere() -> None:
    page = (DOCS / "how-to" / "when-something-is-wrong.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:log|journal|`doctor`|`/healthz`): ([^|]+) \|", page, re.MULTILINE)
    named = {word.strip(" `") for row in rows for word in re.split(r", (?=`)", row)}
    sources = [path for app in ("runs", "approvals", "ops") for path in (ROOT / app).rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    assert len(named) > 10
    assert [word for word in named if word.removesuffix(" …") not in text] == []


def test_states_are_drawn_from_the_machines() -> None:
    drawn = diagrams.PAGE.read_text(encoding="utf-8")
    assert drawn == diagrams.page(), "type python3 -m tests.docs.diagrams"
