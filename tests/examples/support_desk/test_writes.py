"""A write with one key is done once, and an outside file tells how often it was sent."""

from pathlib import Path

import pytest
from django.test import override_settings

from examples.support_desk import effects, orders, records, writes
from examples.support_desk.desk import Desk
from examples.support_desk.models import Order
from tools.failures import Fatal, Refused

pytestmark = pytest.mark.usefixtures("shop")


def cancel(desk: Desk) -> Order:
    return orders.cancel(desk, "#H1002", "no longer needed")


def send(key: str = "k1", reason: str = "no longer needed") -> records.Record:
    return writes.write_once(
        "cancel_pending_order",
        cancel,
        records.of_order,
        key=key,
        arguments={"order": "#H1002", "reason": reason},
    )


class TestWriteOnce:
    def test_it_works(self) -> None:
        assert send()["status"] == "cancelled"

    def test_the_same_key_answers_again_and_does_nothing(self) -> None:
        first = send()

        assert send() == first
        assert len(Desk().order("#H1002").ledger) == 2

    def test_lookup_tells_what_was_done(self) -> None:
        assert writes.lookup("k1") is None
        assert send() == writes.lookup("k1")

    def test_a_refusal_leaves_nothing_behind(self) -> None:
        send("k1")
        with pytest.raises(Refused):
            send("k2")
        assert writes.lookup("k2") is None

    def test_a_key_belongs_to_its_arguments(self) -> None:
        send()
        with pytest.raises(Fatal, match="k1 was used"):
            send(reason="ordered by mistake")


class TestEffects:
    @pytest.fixture
    def seen(self, tmp_path: Path) -> Path:
        return tmp_path / "effects.jsonl"

    def test_nothing_is_written_when_no_file_is_set(self, seen: Path) -> None:
        send()
        assert not seen.exists()

    def test_every_send_is_on_record(self, seen: Path) -> None:
        with override_settings(HOLDPOINT_EFFECTS_FILE=str(seen)):
            send()
        assert [line.split('"')[3] for line in seen.read_text().splitlines()] == ["sent", "done"]
        assert effects.repeated_writes(seen) == 0

    def test_a_double_send_counts(self, seen: Path) -> None:
        with override_settings(HOLDPOINT_EFFECTS_FILE=str(seen)):
            send()
            send()
        assert effects.repeated_writes(seen) == 1

    def test_a_send_that_died_before_it_was_done_does_not_count(self, seen: Path) -> None:
        with override_settings(HOLDPOINT_EFFECTS_FILE=str(seen)):
            effects.report(effects.SENT, key="k1", tool="cancel_pending_order", shop="", arguments_digest="")
            send()
        assert effects.repeated_writes(seen) == 0

    def test_a_write_that_was_done_twice_counts_even_if_nobody_noticed(self, seen: Path) -> None:
        with override_settings(HOLDPOINT_EFFECTS_FILE=str(seen)):
            for event in (effects.SENT, effects.DONE, effects.SENT, effects.DONE):
                effects.report(event, key="k1", tool="cancel_pending_order", shop="", arguments_digest="")
        assert effects.repeated_writes(seen) == 1

    def test_a_refused_send_is_no_write(self, seen: Path) -> None:
        with override_settings(HOLDPOINT_EFFECTS_FILE=str(seen)):
            send("k1")
            for key in ("k2", "k2"):
                with pytest.raises(Refused):
                    send(key)
        assert effects.repeated_writes(seen) == 0
