"""Of many turns in one process a few work at a time, and none waits for ever for a seat."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from runs.crew import seats
from runs.crew.seats import Seats

SOON = 10.0  # seconds within which what must come has come


def begun(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


class Turn:
    """A turn on a thread of its own that keeps its seat until it is let go."""

    def __init__(self, room: Seats) -> None:
        self.room = room
        self.works = threading.Event()
        self.may_end = threading.Event()
        self.thread = begun(self._take)

    def _take(self) -> None:
        with self.room.taken():
            self.works.set()
            assert self.may_end.wait(SOON)

    def end(self) -> None:
        self.may_end.set()
        self.thread.join(SOON)
        assert not self.thread.is_alive()


def test_whoever_comes_waits_until_a_seat_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats, "PATIENCE", 60.0)
    room = Seats(2)
    working = [Turn(room), Turn(room)]
    assert all(turn.works.wait(SOON) for turn in working)
    third = Turn(room)
    assert not third.works.wait(0.1)
    working[0].end()
    assert third.works.wait(SOON)
    working[1].end()
    third.end()


def test_a_long_wait_leaves_its_seat_to_others_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats, "PATIENCE", 60.0)
    room, answered, back = Seats(1), threading.Event(), threading.Event()

    def asks_a_model() -> None:
        with room.taken():
            with room.lent():
                assert answered.wait(SOON)
            back.set()

    asking = begun(asks_a_model)
    other = Turn(room)
    assert other.works.wait(SOON)
    answered.set()
    assert not back.wait(0.1), "there is one seat, and the other has it"
    other.end()
    assert back.wait(SOON)
    asking.join(SOON)


def test_a_turn_that_is_held_up_for_once_does_not_hold_up_all_others() -> None:
    room = Seats(1)
    held_up = Turn(room)
    assert held_up.works.wait(SOON)
    others = [Turn(room) for _ in range(3)]
    for turn in others:
        assert turn.works.wait(SOON)
    for turn in [held_up, *others]:
        turn.end()
    free = Turn(room)
    assert free.works.wait(SOON)
    free.end()


def test_a_wait_without_a_seat_takes_none() -> None:
    room = Seats(1)
    with room.lent():
        turn = Turn(room)
        assert turn.works.wait(SOON)
    turn.end()


def test_a_turn_that_fails_leaves_its_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats, "PATIENCE", 60.0)
    room = Seats(1)

    def fails() -> None:
        with pytest.raises(ZeroDivisionError), room.taken(), room.lent():
            raise ZeroDivisionError

    begun(fails).join(SOON)
    turn = Turn(room)
    assert turn.works.wait(SOON)
    turn.end()
