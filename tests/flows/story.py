"""The tools of the storyteller: waiting, commands, and processes that act at the same moment."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from django.db import connection

from ops.launch.processes import PROJECT, wait_until
from tests.flows.promises.workflows import Act

Player = Callable[[int], Any]


class Until:
    """``until(condition, seconds)``: goes on as soon as the condition holds, or fails the test."""

    def __call__(self, condition: Callable[[], Any], seconds: float = 30, why: str = "") -> None:
        held = wait_until(lambda: bool(condition()), seconds, pause=0.03)
        assert held, why or f"it did not come true within {seconds} s"


def act(do: str, name: str = "", **more: Any) -> Act:
    """One act of a plan."""
    return Act(do=do, name=name, **more)  # type: ignore[arg-type]


def manage(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` with these arguments, in a process of its own."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=dict(env), capture_output=True, text=True, timeout=60)


def at_once(rounds: int, players: Sequence[Player]) -> list[tuple[Any, ...]]:
    """Each player in a process of its own; in each round all of them act at the same moment.

    Returns for each round what each player said: plain values, which can be sent between processes.
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
    told = [pipe.recv() if pipe.poll(120) else [] for _, pipe in children]
    for child, pipe in children:
        child.join(10)
        pipe.close()
        assert child.exitcode == 0, f"a player ended with code {child.exitcode}"
    return list(zip(*told, strict=True))


def _play(player: Player, rounds: int, barrier: Barrier, pipe: Connection) -> None:
    connection.ensure_connection()
    said = []
    for number in range(rounds):
        barrier.wait(60)
        said.append(player(number))
    pipe.send(said)
    connection.close()
