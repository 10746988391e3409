"""Hints to workers: one id each, sent after commit, with a short bound; losing one loses nothing but time."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction
from kombu.pools import producers

logger = logging.getLogger(__name__)

ADVANCE = "runs.tasks.advance"
# Whoever saves a row waits no longer than this for a broker that does not answer; in seconds.
BOUND: dict[str, Any] = {"socket_timeout": 0.7, "socket_connect_timeout": 0.5}
REST = 1.0  # seconds without a try after the broker did not answer; caretakers send the hints later

_silent_until = 0.0


def hint(run_id: str, queue: str) -> None:
    """After this transaction commits, tell a worker on `queue` that the run is ready."""
    transaction.on_commit(partial(send, run_id, queue))


def send(run_id: str, queue: str) -> bool:
    """Send the hint now. False when the broker did not take it; a caretaker finds the run without it."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    try:
        with producers[_connection()].acquire(block=True, timeout=1) as producer:
            current_app.send_task(
                ADVANCE,
                kwargs={"run_id": run_id},
                queue=queue,
                producer=producer,
                retry=False,
                ignore_result=True,
            )
    except Exception as error:
        # Whatever the broker's trouble is, the row is the truth and the caller's work is done.
        _silent_until = time.monotonic() + REST
        logger.warning("hint not sent: %s", error, extra={"run": run_id})
        return False
    return True


def _connection() -> Any:
    """Where hints go: the broker of Celery's settings, with bounds of our own. Equal ones share a pool."""
    connection = current_app.connection_for_write()
    connection.transport_options = {**connection.transport_options, **BOUND}
    return connection
