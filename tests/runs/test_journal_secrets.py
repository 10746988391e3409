"""What is sealed into a journal holds no secret that this process has used."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runs.journal import Entry, Head, seal
from tools import scrubbing

AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_sentence_and_content_are_masked_before_they_are_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrubbing, "_masks", {})
    monkeypatch.setattr(scrubbing, "_forms", ())
    entries = [Entry("x", "said canary-7f3a9c", {"canary-7f3a9c": ["is canary-7f3a9c"]})]
    (open_row,), _ = seal("run_1", Head(0, b""), entries, actor="a", at=AT)
    assert open_row.sentence == "said canary-7f3a9c"
    scrubbing.remember("canary-7f3a9c", "api_key")
    (row,), _ = seal("run_1", Head(0, b""), entries, actor="a", at=AT)
    assert (row.sentence, row.content) == (
        "said [secret api_key]",
        {"[secret api_key]": ["is [secret api_key]"]},
    )
    assert row.digest != open_row.digest
