"""Hints to workers: one id each, sent after commit, with a short bound; losing one loses nothing but time."""

from __future__ import annotations

import logging
import os
import time
from datetime import timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from celery import current_app
from django.db import transaction
from kombu.pools import connections, producers
from kombu.utils.uuid import uuid

if TYPE_CHECKING:
    from runs.models import Run

logger = logging.getLogger(__name__)

ADVANCE = "runs.tasks.advance"
PERFORM = "runs.tasks.perform"
SUSPECTS = "tools"  # the queue for runs that must be alone
HINT_LOST_AFTER = timedelta(seconds=5)  # a queued run that nobody claimed by then gets another hint
USUAL, HIGHEST = 5, 9  # priorities of runs
# Whoever saves a row waits no longer than this for a broker that does not answer; in seconds.
BOUND: dict[str, Any] = {"socket_timeout": 0.7, "socket_connect_timeout": 0.5}
REST = 1.0  # seconds without a try after the broker did not answer; caretakers send the hints later

_silent_until = 0.0


def tell(run: Run) -> None:
    """After this transaction commits, tell a worker on the queue of `run` that it is ready."""
    hint(run.id, queue_of(run), run.priority)


def queue_of(run: Run) -> str:
    """The queue whose workers take the run: where it can do no harm to others, if one died that had it."""
    return SUSPECTS if run.alone else run.queue


def hint(run_id: str, queue: str, priority: int = USUAL) -> None:
    """After this transaction commits, tell a worker on `queue` that the run is ready."""
    transaction.on_commit(partial(send, run_id, queue, priority))


def send(run_id: str, queue: str, priority: int = USUAL) -> bool:
    """Send the hint now. False when the broker did not take it; a caretaker finds the run without it."""
    return _send(ADVANCE, {"run_id": run_id}, queue, priority)


def hint_errand(call_id: str, queue: str, priority: int = USUAL) -> None:
    """After this transaction commits, tell a worker on `queue` that there is a body to run."""
    transaction.on_commit(partial(_send, PERFORM, {"call_id": call_id}, queue, priority))


def waiting_in(queue: str) -> int:
    """How many hints wait in `queue`, whoever they are for; 0 where the broker cannot tell."""
    try:
        with connections[_connection()].acquire(block=True, timeout=1) as broker, broker.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)
    except Exception as error:
        logger.debug("nothing known about the queue %s: %s", queue, error)
        return 0


def _send(task: str, kwargs: dict[str, str], queue: str, priority: int) -> bool:
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    try:
        with producers[_connection()].acquire(block=True, timeout=1) as producer:
            _publish(producer, task, kwargs, queue, priority)
    except Exception as error:
        # Whatever the broker's trouble is, the row is the truth and the caller's work is done.
        _silent_until = time.monotonic() + REST
        logger.warning("hint not sent: %s", error, extra=kwargs)
        return False
    return True


def _publish(producer: Any, task: str, kwargs: dict[str, str], queue: str, priority: int) -> None:
    """As `send_task` does, in half the time: by the exchange that leads to the queue of its own name, so that
    the broker is not asked first where that queue is bound.
    """
    amqp = current_app.amqp
    message = amqp.as_task_v2(uuid(), task, (), kwargs, ignore_result=True, kwargsrepr=repr(kwargs))
    producer.publish(
        message.body,
        exchange="",
        routing_key=queue,
        # A virtual broker makes a list as it is filled; another one drops what no queue is there for.
        declare=[amqp.queues[queue]] if _is_amqp() else [],
        headers=message.headers,
        priority=_as_broker_counts(priority),
        serializer="json",
        retry=False,
        **message.properties,
    )


def _as_broker_counts(priority: int) -> int:
    """Redis takes 0 first, RabbitMQ takes 9 first (where its queue knows priorities at all)."""
    return priority if _is_amqp() else HIGHEST - priority


def _is_amqp() -> bool:
    return str(current_app.conf.broker_url).startswith("amqp")


def _connection() -> Any:
    return _bounded(str(current_app.conf.broker_write_url), os.getpid())


@lru_cache(maxsize=4)
def _bounded(url: str, pid: int) -> Any:
    """Where hints go: the broker of Celery's settings, with bounds of our own. Equal ones share a pool; a
    forked child has its own.
    """
    connection = current_app.connection_for_write(url)
    connection.transport_options = {**connection.transport_options, **BOUND}
    return connection
