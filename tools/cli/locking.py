"""``tools lock`` and ``tools check``: the recorded contracts, and whether the tools still keep them."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools import lock
from tools.canonical import Json
from tools.cli.answers import Answers, Exit, Verb, ended_badly, no, no_arguments
from tools.compatible import Contract
from tools.lock import Finding


def _lock_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--anyway", action="store_true", help="also what breaks callers")


def _lock(answers: Answers, options: dict[str, Any]) -> None:
    where, now = lock.path(), lock.declared()
    if not options["anyway"] and where.exists():
        breaking = [each for each in lock.compare(_locked(where), now) if each.breaks]
        if breaking:
            answers.give(_told(where, breaking), _lines(breaking))
            raise ended_badly(Exit.REFUSED, "Nothing is written; --anyway records it all the same.")
    try:
        changed = lock.write(where, now)
    except OSError as error:
        raise no(Exit.FAILED, f"{where} cannot be written: {error.strerror or error}.") from error
    told = {"lock": str(where), "tools": len(now), "changed": changed}
    said = "are recorded" if changed else "are as recorded"
    answers.give(told, f"The contracts of {len(now)} tools {said} in {where}.")


def _check(answers: Answers, options: dict[str, Any]) -> None:
    where, now = lock.path(), lock.declared()
    if not where.exists():
        raise no(Exit.NOT_FOUND, f"There is no {where}; write it: manage.py tools lock")
    locked = _locked(where)
    found = lock.compare(locked, now)
    breaking = [each for each in found if each.breaks]
    told = {**_told(where, found), "tools": len(now)}
    if breaking:
        answers.give(told, _lines(found))
        raise ended_badly(Exit.FAILED, f"{_many(len(breaking))} would break callers.")
    if _is_behind(locked, now):
        answers.give(told, _lines(found) or "What is declared is written in another way.")
        raise ended_badly(Exit.WAITING, "The lock is behind; commit what `manage.py tools lock` writes.")
    answers.give(told, f"The {len(now)} tools keep the contracts in {where}.")


def _locked(where: Path) -> dict[str, Contract]:
    try:
        return lock.read(where)
    except lock.NotALock as error:
        raise no(Exit.FAILED, str(error)) from error
    except OSError as error:
        raise no(Exit.FAILED, f"{where} cannot be read: {error.strerror or error}.") from error


def _is_behind(locked: dict[str, Contract], now: dict[str, Contract]) -> bool:
    return lock.as_text(locked) != lock.as_text(now)


def _told(where: Path, found: Sequence[Finding]) -> dict[str, Json]:
    return {"lock": str(where), "changes": [_described(each) for each in found]}


def _described(finding: Finding) -> dict[str, Json]:
    return {"tool": finding.tool, **vars(finding.change), "cure": finding.cure}


def _lines(found: Sequence[Finding]) -> str:
    return "\n".join(f"{'breaks' if each.breaks else 'note  '}  {each.sentence}" for each in found)


def _many(count: int) -> str:
    return "1 change" if count == 1 else f"{count} changes"


LOCK = Verb("lock", "record the contracts of the installed tools", _lock_arguments, _lock)
CHECK = Verb("check", "whether the tools keep the recorded contracts", no_arguments, _check)
