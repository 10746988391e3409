"""The contracts of the installed tools as a file of the repository: what callers were promised last."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from tools.compatible import Change, Contract, changes, contract_of
from tools.effects import Effect, Reversibility, Risk
from tools.registry import all_tools

FORM = 1
#: More than any file of contracts should have.
MOST_BYTES = 16 * 1024 * 1024


class NotALock(ValueError):
    """The file is none of ours, or of another form; the message says what to do."""


@dataclass(frozen=True)
class Finding:
    """One difference between the lock and the tools: of which tool, what changed, and what to do about it."""

    tool: str
    change: Change
    cure: str = ""

    @property
    def breaks(self) -> bool:
        """Whether callers break, and no new version tells them."""
        return self.change.breaks

    @property
    def sentence(self) -> str:
        """Where, what and, for what breaks, what to do."""
        where = f"{self.tool} {self.change.path}".rstrip()
        return f"{where} {self.change.said}" + (f". {self.cure}" if self.cure else "")


def path() -> Path:
    """Where the lock is kept: HOLDPOINT_CONTRACTS_LOCK."""
    return Path(settings.HOLDPOINT_CONTRACTS_LOCK)


def declared() -> dict[str, Contract]:
    """The contracts of the installed tools, by name."""
    return {tool.name: contract_of(tool) for tool in all_tools()}


def as_text(contracts: Mapping[str, Contract]) -> str:
    """The file that records `contracts`: the same text for the same contracts."""
    blocks = {name: vars(contract) for name, contract in contracts.items()}
    return json.dumps({"form": FORM, "tools": blocks}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read(where: Path) -> dict[str, Contract]:
    """The contracts that the file records. Raises NotALock, and OSError where it cannot be read."""
    again = f"restore {where}, or write it anew: manage.py tools lock --anyway"
    if where.stat().st_size > MOST_BYTES:
        raise NotALock(f"{where} is too large to be a lock of contracts: {again}")
    try:
        kept = json.loads(where.read_text(encoding="utf-8"))
        if kept["form"] != FORM:
            raise NotALock(f"{where} has form {kept['form']}, and this code reads form {FORM}: {again}")
        return {name: _contract(block) for name, block in kept["tools"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, NotALock):
            raise
        raise NotALock(f"{where} cannot be read as a lock of contracts ({error}): {again}") from error


def _contract(block: dict[str, Any]) -> Contract:
    Effect(block["effect"]), Risk(block["risk"]), Reversibility(block["reversibility"])
    return Contract(**{**block, "version": int(block["version"])})


def write(where: Path, contracts: Mapping[str, Contract]) -> bool:
    """Record `contracts`, whole or not at all; whether the file changed. Raises OSError."""
    text = as_text(contracts)
    if where.exists() and where.read_text(encoding="utf-8", errors="replace") == text:
        return False
    where.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=where.parent, prefix=f".{where.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(beside, 0o644)
        os.replace(beside, where)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return True


def compare(locked: Mapping[str, Contract], now: Mapping[str, Contract]) -> list[Finding]:
    """Every difference, those that break callers without a new version first."""
    found = [
        finding
        for name in sorted({*locked, *now})
        for finding in _of_tool(name, locked.get(name), now.get(name))
    ]
    return sorted(found, key=lambda finding: not finding.breaks)


def _of_tool(name: str, locked: Contract | None, now: Contract | None) -> Iterator[Finding]:
    if locked is None:
        yield Finding(name, Change("tool", "", False, "is new"))
    elif now is None:
        said = "is not installed any more"
        yield Finding(name, Change("tool", "", True, said), f"Keep it while anybody calls it; then {_ANYWAY}")
    elif now.version < locked.version:
        said = f"is {now.version}, and {locked.version} was recorded"
        yield Finding(name, Change("version", "version", True, said), "Versions only go up")
    elif now.version > locked.version:
        said = f"is {now.version}, and {locked.version} was recorded"
        yield Finding(name, Change("version", "version", False, said))
    else:
        cure = f"Raise its version to {locked.version + 1}, or take the change back"
        for change in changes(locked, now):
            yield Finding(name, change, cure if change.breaks else "")


_ANYWAY = "write the lock without it: manage.py tools lock --anyway"
