"""Links lead somewhere, and every page keeps to the glossary."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import DOCS, ROOT, anchors, links, name_of, pages, prose

#: Words of other systems, and figures of speech, that have no place here.
UNWANTED = re.compile(
    r"\b(tasks?|signals?|interrupts?|hitl|human[- ]in[- ]the[- ]loop|seamless\w*|powerful|blazing\w*|robust|"
    r"cutting[- ]edge|leverag\w+|effortless\w*|simply)\b",
    re.IGNORECASE,
)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\ufe0f]")
LONGEST_PAGE = 260  # lines
LONGEST_LINE = 125  # characters; rows of tables may be longer


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_resolve(page: Path) -> None:
    for target in links(page):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            continue
        file = (page.parent / parts.path).resolve() if parts.path else page
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if parts.fragment:
            assert parts.fragment in anchors(file), target


def test_every_promise_names_its_test() -> None:
    promised = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## What is promised\n")[1]
    promises = promised.split("\n## ")[0].split("\n- ")[1:]
    assert promises
    assert [promise for promise in promises if "](tests/" not in promise] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_words_are_plain_and_ours(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "", prose(page))
    assert UNWANTED.findall(text) == []
    assert _EMOJI.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_pages_are_short(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST_PAGE


def test_the_index_names_every_page() -> None:
    index = DOCS / "README.md"
    named = {(index.parent / target).resolve() for target in links(index)}
    assert {page for page in DOCS.rglob("*.md") if page != index} == named


def test_the_changelog_begins_its_lines_with_a_verb() -> None:
    lines = re.findall(r"^- (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert lines
    assert [word for word in lines if not re.fullmatch(r"[A-Z][a-z]+", word)] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_prose_is_wrapped(page: Path) -> None:
    lines = enumerate(prose(page).splitlines(), 1)
    assert [number for number, line in lines if len(line) > LONGEST_LINE and not line.startswith("|")] == []
