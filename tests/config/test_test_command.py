"""`manage.py test`: what it runs, and when it refuses to leave something out."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError

from config.management.commands import test as command
from ops.launch import packages

GONE = packages.Need("Chromium", ("chromium",), lambda: False)


class Rounds:
    """Stands for pytest: remembers each round's database and arguments, and ends with the given code."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.seen: list[tuple[bool, list[str]]] = []

    def __call__(self, line: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "REDIS_URL" not in env
        self.seen.append(("DATABASE_URL" in env, line[3:]))
        return subprocess.CompletedProcess(line, self.codes.pop(0))


@pytest.fixture(autouse=True)
def complete_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(packages, "missing", lambda: [])
    monkeypatch.setattr(command, "find_programs", lambda: tmp_path)
    monkeypatch.setattr(command.Command, "_database", lambda self, stack: "postgresql:///x")
    monkeypatch.setenv("HOLDPOINT_RETAIL_DATA", str(tmp_path))
    monkeypatch.setenv("REDIS_URL", "redis://a-broker-in-use")
    monkeypatch.setenv("CI", "true")


def run(monkeypatch: pytest.MonkeyPatch, rounds: Rounds, *arguments: str) -> int:
    monkeypatch.setattr(command.subprocess, "run", rounds)
    with pytest.raises(SystemExit) as ended:
        command.Command().run_from_argv(["manage.py", "test", *arguments])
    return int(ended.value.code or 0)


class TestRounds:
    def test_both_databases_and_foreign_arguments_to_pytest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rounds = Rounds(0, 0)
        assert run(monkeypatch, rounds, "-k", "lease", "-x", "tests/runs") == 0
        assert rounds.seen == [
            (False, ["-k", "lease", "-x", "tests/runs"]),
            (True, ["-k", "lease", "-x", "tests/runs"]),
        ]

    def test_one_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rounds = Rounds(0)
        assert run(monkeypatch, rounds, "--db", "postgres") == 0
        assert rounds.seen == [(True, [])]

    @pytest.mark.parametrize(
        ("codes", "ends"), [((1, 0), 1), ((0, 2), 2), ((5, 0), 0), ((5, 5), 5), ((5, 1), 1)]
    )
    def test_the_worst_counts_and_no_test_at_all_is_no_success(
        self, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], ends: int
    ) -> None:
        assert run(monkeypatch, Rounds(*codes)) == ends

    def test_at_home_without_postgresql_sqlite_is_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CI")
        monkeypatch.setattr(command, "find_programs", lambda: None)
        rounds = Rounds(0)
        assert run(monkeypatch, rounds) == 0
        assert rounds.seen == [(False, [])]


class TestWhatIsMissing:
    def test_in_ci_is_installed_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lacking = [GONE]
        monkeypatch.setattr(packages, "missing", lambda: list(lacking))
        monkeypatch.setattr(packages, "install", lambda needs, say: lacking.clear())
        assert run(monkeypatch, Rounds(0, 0)) == 0

    def test_in_ci_and_cannot_be_installed_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages, "missing", lambda: [GONE])
        monkeypatch.setattr(packages, "install", lambda needs, say: None)
        with pytest.raises(CommandError, match="nothing may be left out, and this is missing: Chromium"):
            command.Command().handle(db="both", install=False, pytest_arguments=[])

    @pytest.mark.parametrize("value", ["", "/no/such/folder"])
    def test_in_ci_the_retail_data_too(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("HOLDPOINT_RETAIL_DATA", value)
        assert run(monkeypatch, Rounds()) == 1

    def test_at_home_nothing_is_installed_unasked(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("CI")
        monkeypatch.setattr(packages, "missing", lambda: [GONE])
        monkeypatch.setattr(packages, "install", lambda needs, say: pytest.fail("installed unasked"))
        assert run(monkeypatch, Rounds(0, 0)) == 0
        assert "Chromium is not here, its tests are left out" in capsys.readouterr().out

    def test_without_root_the_line_to_type_is_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(packages.os, "getuid", lambda: 1000)
        monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")
        with pytest.raises(packages.CannotInstall, match="Type sudo apt-get install .* chromium"):
            packages.install([GONE], lambda sentence: None)
