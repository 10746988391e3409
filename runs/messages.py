"""Hints to workers: one id each, sent after commit, with a short bound; losing one loses nothing but time."""

from __future__ import annotations

import logging
from functools import partial

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)

ADVANCE = "runs.tasks.advance"


def hint(run_id: str, queue: str) -> None:
    """After this transaction commits, tell a worker on `queue` that the run is ready."""
    transaction.on_commit(partial(send, run_id, queue))


def send(run_id: str, queue: str) -> bool:
    """Send the hint now. False when the broker did not take it; a caretaker finds the run without it."""
    try:
        current_app.send_task(
            ADVANCE, kwargs={"run_id": run_id}, queue=queue, retry=False, ignore_result=True
        )
    except Exception as error:
        # Whatever the broker's trouble is, the row is the truth and the caller's work is done.
        logger.warning("hint not sent: %s", error, extra={"run": run_id})
        return False
    return True
