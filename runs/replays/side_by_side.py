"""What was recorded beside what the code asks for, line by line."""

from __future__ import annotations

import json
from difflib import SequenceMatcher
from itertools import zip_longest

from runs.replays.report import Divergence, Side

WIDEST = 60  # characters of one side
LONGEST = 40  # lines


def side_by_side(parted: Divergence) -> str:
    """Two columns; lines that differ are marked with ``|`` between them."""
    left, right = _lines(parted.recorded), _lines(parted.asked)
    rows: list[tuple[str, str, str]] = []
    for same, i, j, k, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        mark = " " if same == "equal" else "|"
        rows += [(a, mark, b) for a, b in zip_longest(left[i:j], right[k:m], fillvalue="")]
    width = min(WIDEST, max(len(line) for line in [*left, "recorded"]))
    shown = [("recorded", " ", "asked for by the code"), *rows[:LONGEST]]
    more = [f"({len(rows) - LONGEST} more lines)"] if len(rows) > LONGEST else []
    return "\n".join([f"  {_cut(a, width)} {mark} {b[:WIDEST]}".rstrip() for a, mark, b in shown] + more)


def _lines(side: Side) -> list[str]:
    told = json.dumps(side.arguments, ensure_ascii=False, indent=2, sort_keys=True)
    return [side.what, *(told.splitlines() if side.arguments is not None else [])]


def _cut(text: str, width: int) -> str:
    return text[:width].ljust(width)
