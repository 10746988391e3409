"""A write with one key is done once, and an outside file tells how often it was sent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from threading import Barrier

import pytest
from django.db import connection
from django.test import override_settings

from examples.support_desk import effects, orders, records, writes
from examples.support_desk.demo_shop import DEMO_SHOP
from examples.support_desk.desk import Desk
from examples.support_desk.loading import put
from examples.support_desk.models import Order
from tools.failures import Fatal, Refused


def cancel(desk: Desk) -> Order:
    return orders.cancel(desk, "#H1002", "no longer needed")


def send(key: str = "k1", reason: str = "no longer needed", shop: str = "") -> records.Record:
    return writes.write_once(
        "cancel_pending_order",
        cancel,
        records.of_order,
        key=key,
        shop=shop,
        arguments={"order": "#H1002", "reason": reason},
    )


@pytest.mark.usefixtures("shop")
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


@pytest.mark.usefixtures("shop")
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


@pytest.mark.django_db(transaction=True)
class TestRaces:
    """Several workers at once, on real connections."""

    @pytest.fixture(autouse=True)
    def filled(self) -> None:
        put(DEMO_SHOP)

    @staticmethod
    def at_once(*sends: Callable[[], object]) -> list[object]:
        start = Barrier(len(sends))

        def one(act: Callable[[], object]) -> object:
            start.wait()
            try:
                return act()
            except Refused as no:
                return no
            finally:
                connection.close()

        with ThreadPoolExecutor(len(sends)) as pool:
            return list(pool.map(one, sends))

    def test_one_key_is_done_once(self) -> None:
        answers = self.at_once(*[send] * 4)

        assert all(answer == answers[0] for answer in answers)
        assert len(Desk().order("#H1002").ledger) == 2

    def test_of_two_keys_one_finds_the_order_changed(self) -> None:
        answers = self.at_once(lambda: send("k1", shop="a-case"), lambda: send("k2", shop="a-case"))

        assert sorted(type(answer).__name__ for answer in answers) == ["Refused", "dict"]
        assert Order.objects.filter(shop="a-case", number="#H1002").count() == 1
        assert Desk("a-case").customer("maya_lind").methods["gift_card_0007"].balance == Decimal("79.90")
