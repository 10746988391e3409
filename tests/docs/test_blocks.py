"""Every Python block runs: complete files as an app (see test_tutorial), all others page by page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from approvals import declared
from runs import agent, workflow
from tests.docs.pages import DOCS, ROOT, blocks, complete_files, name_of, pages
from tools import failures, registry, secrets

LANGUAGES = {"python", "sh", "text", "mermaid"}
WITH_PYTHON = [page for page in pages() if any(not block.title for block in blocks(page, "python"))]
EXCERPTS = {ROOT / "README.md": DOCS / "tutorial.md"}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module for one page; nothing that the page declares outlives it."""
    made = ModuleType("a_page_of_the_docs")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setattr(workflow, "_registry", dict(workflow._registry))
    monkeypatch.setattr(agent, "_agents", dict(agent._agents))
    monkeypatch.setattr(failures, "_REGISTERED", dict(failures._REGISTERED))
    monkeypatch.setattr(secrets, "_resolvers", dict(secrets._resolvers))
    with registry.scratch(), declared.scratch():
        yield made


@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page not in EXCERPTS], ids=name_of)
def test_the_blocks_of_a_page_run(page: Path, module: ModuleType) -> None:
    for block in blocks(page, "python"):
        code = compile("\n" * block.line + block.text, str(page), "exec")
        exec(code, module.__dict__)  # noqa: S102 - our own pages


@pytest.mark.parametrize(("page", "source"), EXCERPTS.items(), ids=lambda page: name_of(page))
def test_an_excerpt_is_part_of_a_file_that_runs(page: Path, source: Path) -> None:
    whole = "\n".join(complete_files(source).values())
    assert [str(block) for block in blocks(page, "python") if block.text not in whole] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_block_names_a_language_that_is_tested(page: Path) -> None:
    fences = [line for line in page.read_text().splitlines() if line.lstrip().startswith("```")]
    opened = [line.strip().removeprefix("```") for line in fences[::2]]
    assert {language.split(" ")[0] for language in opened} <= LANGUAGES
    assert {line.strip() for line in fences[1::2]} <= {"```"}
