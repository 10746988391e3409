"""The recorded contracts: what is written, what a change comes to, and which exit code says so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tools import lock, registry
from tools.contract import IdempotencyKey, Tool


@pytest.fixture(autouse=True)
def path(tmp_path: Path, settings: Any) -> Iterator[Path]:
    settings.HOLDPOINT_CONTRACTS_LOCK = tmp_path / "kept" / "contracts.lock"
    with registry.scratch():
        registry._tools.clear()
        yield settings.HOLDPOINT_CONTRACTS_LOCK


def pay(amount: int, *, key: IdempotencyKey) -> str:
    """Pay an amount."""
    return key


def pay_in(amount: int, currency: str, *, key: IdempotencyKey) -> str:
    """Pay an amount, in a currency."""
    return key


def pay_noted(amount: int, note: str = "", *, key: IdempotencyKey) -> str:
    """Pay an amount, with a note."""
    return key


def declare(function: Callable[..., Any] = pay, **more: Any) -> Tool:
    """The one tool that there is, from now on."""
    registry._tools.clear()
    return registry.add(Tool(function, name="pay", **{"effect": "write", **more}))


def run(*words: str) -> tuple[int, str]:
    """The exit code and what was answered."""
    out = StringIO()
    try:
        call_command("tools", *words, stdout=out, stderr=StringIO())
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


class TestLock:
    def test_it_works(self, path: Path) -> None:
        contract = declare()
        assert run("lock") == (0, f"The contracts of 1 tools are recorded in {path}.\n")
        kept = json.loads(path.read_text())
        assert kept["tools"]["pay"]["digest"] == contract.contract_digest
        assert kept["tools"]["pay"]["input"]["required"] == ["amount"]
        assert lock.read(path) == lock.declared()

    def test_the_same_contracts_are_the_same_text_and_not_written_again(self, path: Path) -> None:
        for name in ("b", "a"):
            registry.add(Tool(pay, name=name, effect="write"))
        run("lock")
        written = path.read_text()
        os.utime(path, ns=(1, 1))
        registry._tools.update(reversed(list(registry._tools.items())))
        assert run("lock")[1].startswith("The contracts of 2 tools are as recorded")
        assert (path.read_text(), path.stat().st_mtime_ns) == (written, 1)
        assert [name.name for name in path.parent.iterdir()] == [path.name]
        assert list(json.loads(written)["tools"]) == ["a", "b"]

    def test_what_breaks_callers_is_not_recorded_unless_somebody_insists(self, path: Path) -> None:
        declare()
        run("lock")
        before = path.read_text()
        declare(pay_in)
        code, said = run("lock")
        assert (code, path.read_text()) == (5, before)
        assert "breaks  pay input.currency must be given now. Raise its version to 2" in said
        assert run("lock", "--anyway")[0] == 0
        assert run("check")[0] == 0

    def test_as_json(self, path: Path) -> None:
        declare()
        assert json.loads(run("lock", "--json")[1]) == {"lock": str(path), "tools": 1, "changed": True}

    def test_where_nothing_can_be_written(self, path: Path) -> None:
        path.parent.write_text("a file")
        declare()
        code, said = run("lock")
        assert code == 1 and "cannot be written" in said


class TestCheck:
    def test_it_works(self, path: Path) -> None:
        declare()
        run("lock")
        assert run("check") == (0, f"The 1 tools keep the contracts in {path}.\n")

    @pytest.mark.parametrize(
        ("function", "more", "code", "said"),
        [
            (pay_in, {}, 1, "breaks  pay input.currency must be given now. Raise its version to 3, or take"),
            (pay, {"effect": "irreversible"}, 1, "breaks  pay effect is irreversible and was write"),
            (pay, {"version": 1}, 1, "breaks  pay version is 1, and 2 was recorded. Versions only go up"),
            (pay_in, {"version": 3}, 3, "note    pay version is 3, and 2 was recorded"),
            (pay_noted, {}, 3, "note    pay input.note takes more than it did"),
            (pay, {"risk": "high"}, 3, "note    pay risk is high and was low"),
            (pay, {"timeout": 5, "title": "Pay it"}, 0, "keep the contracts"),
        ],
    )
    def test_what_a_change_comes_to(
        self, function: Callable[..., Any], more: dict[str, Any], code: int, said: str
    ) -> None:
        declare(version=2)
        run("lock")
        declare(function, **{"version": 2, **more})
        ended, told = run("check")
        assert ended == code
        assert said in told

    def test_after_each_change_that_is_recorded_it_is_content(self) -> None:
        declare()
        run("lock")
        for function, version in ((pay_noted, 1), (pay_in, 2)):
            declare(function, version=version)
            assert run("check")[0] == 3
            assert run("lock")[0] == 0
            assert run("check")[0] == 0

    def test_a_tool_that_is_gone_and_one_that_is_new(self) -> None:
        declare()
        run("lock")
        registry._tools.clear()
        registry.add(Tool(pay, name="pay_out", effect="write"))
        code, said = run("check")
        assert code == 1
        assert "breaks  pay is not installed any more. Keep it while anybody calls it" in said
        assert "note    pay_out is new" in said

    def test_as_json(self, path: Path) -> None:
        declare()
        run("lock")
        declare(pay_in)
        out = StringIO()
        with pytest.raises(CommandError, match="1 change would break callers"):
            call_command("tools", "check", "--json", stdout=out)
        (change,) = json.loads(out.getvalue())["changes"]
        assert change == {
            "tool": "pay",
            "kind": "input",
            "path": "input.currency",
            "breaks": True,
            "said": "must be given now",
            "cure": "Raise its version to 2, or take the change back",
        }

    def test_there_is_no_lock(self, path: Path) -> None:
        declare()
        code, said = run("check")
        assert code == 4 and f"There is no {path}" in said

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "{}",
            '{"form": 2, "tools": {}}',
            '{"form": 1, "tools": {"pay": {}}}',
            '{"form": 1, "tools": {"pay": 3}}',
            "[" * 100_000,
            "<<<<<<< ours",
        ],
    )
    def test_a_file_that_is_no_lock(self, path: Path, text: str) -> None:
        declare()
        path.parent.mkdir()
        path.write_text(text)
        for verb in ("check", "lock"):
            code, said = run(verb)
            assert code == 1 and "manage.py tools lock --anyway" in said
        assert run("lock", "--anyway")[0] == 0
        assert run("check")[0] == 0

    @pytest.mark.parametrize(("word", "value"), [("effect", "huge"), ("risk", None), ("version", "x")])
    def test_a_word_that_nobody_knows(self, path: Path, word: str, value: Any) -> None:
        declare()
        run("lock")
        kept = json.loads(path.read_text())
        kept["tools"]["pay"][word] = value
        path.write_text(json.dumps(kept))
        assert run("check")[0] == 1
