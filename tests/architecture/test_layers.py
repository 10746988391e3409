"""The walls between the apps, and names that say nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
APPS = ("config", "tools", "runs", "approvals", "ops", "examples")
#: Names under which everything ends up that nobody thought about.
BAGS = {"utils", "util", "helpers", "helper", "common", "misc", "stuff", "base", "core", "lib"}
#: Other systems' words for what has its own word here.
FOREIGN = ("node", "interrupt", "hitl")


def source_files() -> list[Path]:
    return [path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts]


def test_each_app_imports_only_those_below_it() -> None:
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


#: Django looks for a database backend in a module of this name.
NAMED_BY_DJANGO = {ROOT / "config" / "postgresql" / "base.py"}


def test_no_file_is_a_bag() -> None:
    names = {path for path in source_files() if BAGS & {path.stem, *path.relative_to(ROOT).parent.parts}}
    assert names == NAMED_BY_DJANGO


def test_no_foreign_word_names_a_class_or_function() -> None:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{path.relative_to(ROOT)}: {item.name}"
        for path in source_files()
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(item, kinds) and any(word in item.name.lower() for word in FOREIGN)
    ]
    assert not found


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
