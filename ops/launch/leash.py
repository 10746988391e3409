"""Starts one program that must not outlive the process which asked for it.

Run as a script with `python -I -S leash.py PARENT SIGNAL USER -- /PROGRAM …`, so that it starts in a few
milliseconds. On Linux the kernel is asked to send SIGNAL when the parent ends, and this script becomes the
program. Elsewhere it stays, looks for its parent four times a second, and ends the program's whole group.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1


def end_with_parent(death_signal: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Asks Linux to send this process a signal when its parent ends; does nothing on other systems."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid() if parent is None else parent
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    # The parent may have ended before the kernel was asked.
    if os.getppid() != parent:
        os.kill(os.getpid(), death_signal)


def become_user(user: int) -> None:
    """Gives up root for good; the group follows the user."""
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def watch(program: list[str], parent: int) -> int:
    """Runs the program as a child and ends its group once the parent is gone; the program's exit code."""
    child = os.fork()
    if child == 0:
        os.execv(program[0], program)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if os.getppid() != parent:
            os.killpg(os.getpgid(0), signal.SIGKILL)
        time.sleep(0.25)


def main(arguments: list[str]) -> int:
    """Ties the program to its parent and becomes it."""
    parent, death_signal, user = (int(text) for text in arguments[:3])
    program = arguments[4:]
    if user:
        become_user(user)
    if not sys.platform.startswith("linux"):
        return watch(program, parent)
    # After the change of user, because that change clears it.
    end_with_parent(death_signal, parent)
    os.execv(program[0], program)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
