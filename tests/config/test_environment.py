"""What the environment may say, and what it is told when it says something else."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import environment

KEY = "ab" * 32


class TestWords:
    @pytest.mark.parametrize(("text", "meaning"), [("1", True), ("Yes", True), ("off", False), ("", False)])
    def test_flag(self, text: str, meaning: bool) -> None:
        assert environment.flag("X", not meaning, {"X": text}) is meaning

    def test_flag_not_given(self) -> None:
        assert environment.flag("X", True, {}) is True

    def test_flag_refuses_what_is_neither(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="X is 'perhaps': write 1 for yes"):
            environment.flag("X", True, {"X": "perhaps"})

    def test_whole_refuses_words(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="write a whole number"):
            environment.whole("X", 3, {"X": "three"})

    def test_whole_refuses_what_is_too_little(self) -> None:
        assert environment.whole("X", 3, {"X": "1"}, least=1) == 1

    def test_an_amount(self) -> None:
        assert environment.amount("X", {}) is None
        assert environment.amount("X", {"X": " "}) is None
        assert environment.amount("X", {"X": "500.50 EUR"}) == (Decimal("500.50"), "EUR")

    @pytest.mark.parametrize("text", ["500", "EUR 500", "-1 EUR", "NaN EUR", "5 EUR more", "5 5"])
    def test_no_amount(self, text: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="such as 500 EUR"):
            environment.amount("X", {"X": text})
        with pytest.raises(ImproperlyConfigured, match="write 1 or more"):
            environment.whole("X", 3, {"X": "0"}, least=1)

    def test_words(self) -> None:
        assert environment.words("X", "", {"X": " a, b ,,c"}) == ["a", "b", "c"]


class TestDataFolder:
    def test_is_made_for_its_owner_alone(self, tmp_path: Path) -> None:
        made = environment.data_folder(tmp_path / "a" / "b")
        assert stat.S_IMODE(made.stat().st_mode) == 0o700

    def test_that_cannot_be_made_is_one_line_with_the_cure(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ImproperlyConfigured, match=r"cannot be made .*set HOLDPOINT_DATA") as caught:
            environment.data_folder(tmp_path / "file" / "data")
        assert "\n" not in str(caught.value)

    def test_that_is_not_writable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Root may write everywhere, so the answer is given instead of the mode.
        monkeypatch.setattr(environment.os, "access", lambda path, mode: False)
        with pytest.raises(ImproperlyConfigured, match="is not writable"):
            environment.data_folder(tmp_path)


class TestKeptSecret:
    def test_is_made_once_and_kept(self, tmp_path: Path) -> None:
        first = environment.kept_secret(tmp_path, "k")
        assert environment.kept_secret(tmp_path, "k") == first
        assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600

    def test_many_starts_at_once_agree(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(16) as pool:
            found = set(pool.map(lambda _: environment.kept_secret(tmp_path, "k"), range(64)))
        assert len(found) == 1
        assert os.listdir(tmp_path) == ["k"]

    def test_a_damaged_one_is_refused_not_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "k").write_text("short")
        with pytest.raises(ImproperlyConfigured, match="put the original file back"):
            environment.kept_secret(tmp_path, "k")
        assert (tmp_path / "k").read_text() == "short"


class TestJournalKeys:
    def test_keep_their_order(self) -> None:
        keys = environment.journal_keys(f"new:{KEY}, old:{'cd' * 32}")
        assert list(keys) == ["new", "old"]
        assert keys["new"] == bytes.fromhex(KEY)

    @pytest.mark.parametrize("text", ["", "nokey", "a:xyz", "a:abcd", f"a:{KEY},a:{KEY}", f":{KEY}"])
    def test_refuse_anything_else(self, text: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="HOLDPOINT_JOURNAL_KEYS"):
            environment.journal_keys(text)


class TestDatabase:
    def test_sqlite_survives_a_power_cut_and_locks_at_once(self) -> None:
        entry = environment.database("sqlite:////data/x.sqlite3", pool=True, pool_size=4)
        assert entry["NAME"] == "/data/x.sqlite3"
        options = entry["OPTIONS"]
        assert isinstance(options, dict)
        assert options["transaction_mode"] == "IMMEDIATE"
        assert "synchronous=FULL" in options["init_command"]

    def test_postgresql_over_a_socket(self) -> None:
        url = "postgresql://me:se%40cret@/hold%20point?host=%2Ftmp%2Fx&port=5433&sslmode=disable"
        entry = environment.database(url, pool=True, pool_size=4)
        expected = {
            "NAME": "hold point",
            "USER": "me",
            "PASSWORD": "se@cret",
            "HOST": "/tmp/x",
            "PORT": "5433",
        }
        assert expected.items() <= entry.items()
        options = entry["OPTIONS"]
        assert isinstance(options, dict)
        assert options["sslmode"] == "disable"
        assert options["pool"]["max_size"] == 4
        assert entry["CONN_MAX_AGE"] == 0

    def test_postgresql_without_a_pool_keeps_its_connection(self) -> None:
        entry = environment.database("postgres://h:5/n", pool=False, pool_size=4)
        assert entry["CONN_MAX_AGE"] is None
        assert (entry["HOST"], entry["PORT"]) == ("h", "5")

    @pytest.mark.parametrize("character", ["/", "#", "?"])
    def test_a_password_with_strange_characters_is_not_shown(self, character: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="%23 for #") as caught:
            environment.database(f"postgresql://ana:bird{character}song@host/db", pool=False, pool_size=4)
        assert "bird" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("mysql://h/n", "begins with 'mysql'"),
            ("here", "no scheme"),
            ("sqlite://", "names no file"),
            ("postgresql://host", "names no database"),
            ("postgresql://host:port/n", "port"),
        ],
    )
    def test_other_urls_are_one_line(self, url: str, says: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=says):
            environment.database(url, pool=False, pool_size=1)
