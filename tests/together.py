"""Processes that act at the same moment: what threads of one process cannot show."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from django.db import connection

Player = Callable[[int], Any]


def at_once(rounds: int, players: Sequence[Player]) -> list[tuple[Any, ...]]:
    """Each player in a process of its own; in each round all of them act at the same moment.

    Returns for each round what each player said: plain values, which can be sent between processes. A test
    that uses this ignores the warning of newer Pythons about fork.
    """
    # A child must not inherit a connection that its parent still uses.
    connection.close()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(players))
    children = []
    for player in players:
        mine, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_play, args=(player, rounds, barrier, theirs), daemon=True)
        child.start()
        theirs.close()
        children.append((child, mine))
    told = [pipe.recv() if pipe.poll(120) else (None, "a player said nothing") for _, pipe in children]
    for child, pipe in children:
        child.join(10)
        pipe.close()
    # First the one that broke the barrier, then those that only found it broken.
    failures = sorted((why for _, why in told if why), key=lambda why: "BrokenBarrierError" in why)
    assert not failures, "\n".join(failures)
    return list(zip(*(said for said, _ in told), strict=True))


def _play(player: Player, rounds: int, barrier: Barrier, pipe: Connection) -> None:
    said: list[Any] = []
    try:
        for number in range(rounds):
            connection.ensure_connection()
            barrier.wait(60)
            said.append(player(number))
        pipe.send((said, ""))
    except Exception:
        barrier.abort()
        pipe.send((None, traceback.format_exc()))
    finally:
        connection.close()
