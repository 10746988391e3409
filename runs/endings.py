"""After a run has ended: whoever waited for it hears, now or from a caretaker."""

from __future__ import annotations

import logging
from collections.abc import Callable

from runs.models import Run

logger = logging.getLogger(__name__)
_listeners: dict[str, Callable[[Run], None]] = {}


def listen(name: str, listener: Callable[[Run], None]) -> None:
    """Call `listener` with every run that has ended, after it was committed. It may be missed: a process can
    die in between, so whatever matters needs a caretaker as well.
    """
    _listeners[name] = listener


def ended(run: Run) -> None:
    """The run has ended and that is committed."""
    for name, listener in _listeners.items():
        try:
            listener(run)
        except Exception:
            logger.exception("left for a caretaker", extra={"listener": name, "run": run.id})
