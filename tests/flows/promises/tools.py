"""Tools that touch the file that stands for the world; each can be stopped in the middle by a file.

`first` is a file that must be there before the tool does anything, `then` one that must be there before it
answers: until the story makes them, the call is in flight, before or after its effect.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import time
from pathlib import Path

from tests.flows.promises import world
from tools.contract import IdempotencyKey
from tools.failures import UnknownOutcome
from tools.registry import tool

SECONDS = 2  # the timeout of these tools


def await_file(place: str) -> None:
    """Until the story makes the file `place` (no path: not at all)."""
    while place and not Path(place).exists():
        time.sleep(0.01)


@tool(effect="read", timeout=SECONDS)
def look(name: str, first: str = "", then: str = "") -> str:
    """Look at something."""
    world.happen(f"look {name}")
    await_file(first or then)
    return name


@tool(effect="write", risk="low", timeout=SECONDS, rollback="Write it again")
def put(name: str, first: str = "", then: str = "", *, key: IdempotencyKey) -> str:
    """Put something down; the other side knows the key and does it once."""
    world.happen(f"asked to put {name}", key)
    await_file(first)
    if not world.happened(f"put {name}", key):
        world.happen(f"put {name}", key)
    await_file(then)
    return name


@tool(effect="irreversible", risk="high", timeout=SECONDS, rollback="None")
def launch(
    name: str, first: str = "", then: str = "", loses_its_answer: bool = False, *, key: IdempotencyKey
) -> str:
    """Launch something; nobody can ask afterwards whether it flew."""
    world.happen(f"asked to launch {name}", key)
    await_file(first)
    world.happen(f"launch {name}", key)
    await_file(then)
    if loses_its_answer:
        raise UnknownOutcome("the line went dead after it was sent")
    return name


@tool(effect="write", risk="low", timeout=SECONDS, rollback="None")
def poison(*, key: IdempotencyKey) -> str:
    """End the process that calls it."""
    world.happen("poison", key)
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


@tool(effect="read", timeout=SECONDS, queue="tools")
def weigh(name: str, first: str = "", then: str = "") -> str:
    """Look at something, on the queue for tools."""
    world.happen(f"weigh {name}")
    await_file(first or then)
    return name


@tool(effect="write", risk="low", timeout=SECONDS, rollback="Write it again", queue="tools")
def carve(name: str, first: str = "", then: str = "", *, key: IdempotencyKey) -> str:
    """As `put`, on the queue for tools."""
    world.happen(f"asked to carve {name}", key)
    await_file(first)
    if not world.happened(f"carve {name}", key):
        world.happen(f"carve {name}", key)
    await_file(then)
    return name


@tool(effect="read", timeout=1, queue="tools")
def freeze(name: str) -> str:
    """Hold the interpreter inside C code, for ever."""
    world.happen(f"freeze {name}")
    re.match("(a+)+$", "a" * 64 + "b")
    return name


def _wait_for_a_socket() -> None:
    here, _there = socket.socketpair()
    here.recv(1)


def _block_all_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    time.sleep(3600)


def _keep_the_interpreter() -> None:
    """In C code that lets no other Python code run, with every signal blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(3600)


def _take_the_timer() -> None:
    """As a library with time limits of its own does."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(3600)


STALLS = {
    "socket": _wait_for_a_socket,
    "signals": _block_all_signals,
    "interpreter": _keep_the_interpreter,
    "timer": _take_the_timer,
}


@tool(effect="read", timeout=1, queue="tools")
def stall(how: str) -> str:
    """Hang in that way, for ever."""
    world.happen(f"stall {how}")
    STALLS[how]()
    return how


@tool(effect="read", timeout=1)
def hang(name: str, then: str = "") -> str:
    """The first time never end, in a thread that nobody can end."""
    world.happen(f"hang {name}")
    if len(world.happened(f"hang {name}")) == 1:
        await_file(then)
    return name


@tool(effect="write", risk="low", timeout=60, rollback="Write it again")
def plod(name: str, first: str = "", then: str = "", *, key: IdempotencyKey) -> str:
    """Take long, as this tool may."""
    world.happen(f"plod {name}", key)
    await_file(first or then)
    return name


@tool(effect="write", risk="low", timeout=SECONDS, rollback="Ask for it back", queue="payments")
def pay(name: str, then: str = "", *, key: IdempotencyKey) -> str:
    """Pay somebody, where the credentials for that are."""
    world.happen(f"pay {name}", key)
    await_file(then)
    return name
