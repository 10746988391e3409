"""What a Celery worker process does besides its turns: it registers, beats, sweeps and says goodbye."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

from celery.signals import (
    celeryd_after_setup,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from django.conf import settings
from django.db import connections

from runs import timers
from runs.crew import watch, workers

logger = logging.getLogger(__name__)

SWEEP_EVERY = 1.0  # seconds
MARGIN = float(settings.HOLDPOINT_LEASE_MARGIN)
KILL_AFTER = 1.0  # seconds that a child has outlived its time when only we are left to end it
LAST_WORDS = 5.0  # seconds that a worker has to end once nothing is under way that it must wait for
REPLACED = 75  # the exit code of a worker with calls that hang: whoever keeps it running starts another

_pulse: workers.Pulse | None = None
_overdue: frozenset[object] = frozenset()


def connect() -> None:
    """Follow Celery's signals: a pool of threads lives in the main process, prefork in its children."""
    celeryd_after_setup.connect(_set_up, dispatch_uid="runs.crew.life.set_up")
    worker_shutting_down.connect(_asked_to_end, dispatch_uid="runs.crew.life.shutting_down")
    worker_ready.connect(_thread_pool_started, dispatch_uid="runs.crew.life.ready")
    worker_shutdown.connect(_ended, dispatch_uid="runs.crew.life.shutdown")
    worker_process_init.connect(_child_started, dispatch_uid="runs.crew.life.child")
    worker_process_shutdown.connect(_ended, dispatch_uid="runs.crew.life.child_shutdown")


def _set_up(sender: Any = None, instance: Any = None, **kwargs: Any) -> None:
    pool = "prefork" if "prefork" in str(instance.pool_cls) else "threads"
    workers.describe(",".join(sorted(instance.app.amqp.queues.consume_from)), pool)


def _start() -> None:
    global _pulse
    workers.expect_beats()
    try:
        workers.this_worker()
    except Exception:
        logger.exception("not registered yet: the next heartbeat tries again")
    else:
        _take_over()
    _pulse = workers.Pulse(timers.sweep, SWEEP_EVERY, _look_for_what_hangs)
    _pulse.start()


def _take_over() -> None:
    try:
        timers.take_over()
    except Exception:
        logger.exception("nothing taken over yet: the rounds do it")


def _end() -> None:
    global _pulse
    if _pulse is not None:
        _pulse.end()
        _pulse = None


def _thread_pool_started(**kwargs: Any) -> None:
    if workers.pool() == "threads":
        _start()


def _child_started(**kwargs: Any) -> None:
    # A connection that was open before the fork belongs to the parent.
    for connection in connections.all(initialized_only=True):
        connection.connection = None
    watch.kill_what_overruns()
    _start()


def _asked_to_end(**kwargs: Any) -> None:
    """In the main process, as its signal arrives: turns give their runs back, and nothing new is taken."""
    if workers.leaving():
        return
    workers.leave_soon()
    if workers.pool() == "threads":
        threading.Thread(target=_end_in_time, name="leaving", daemon=True).start()


def _look_for_what_hangs() -> None:
    """A call that is over its time cannot be ended in a thread: the whole worker is replaced."""
    global _overdue
    if workers.pool() != "threads":
        _end_child_without_timer()
        return
    # Seen twice: a machine that woke up finds everything overdue for a moment.
    before, _overdue = _overdue, watch.hanging(MARGIN)
    hanging = before & _overdue
    if hanging and not workers.leaving():
        said = "%s calls hang: this worker takes nothing new, lets the others end and is replaced"
        logger.error(said, len(hanging))
        os.kill(os.getpid(), signal.SIGTERM)


def _end_child_without_timer() -> None:
    """A library with time limits of its own may have taken the timer that would have ended this child."""
    if watch.hanging(KILL_AFTER):
        logger.error("a call is over its time, and the timer that would end it is gone: this child ends")
        os.kill(os.getpid(), signal.SIGKILL)


def _end_in_time() -> None:
    """Celery waits for its threads for ever. Wait for what ends in its time, and for nothing else."""
    pause = threading.Event()
    while watch.busy(MARGIN):
        pause.wait(0.1)
    pause.wait(LAST_WORDS)
    hanging = watch.hanging(MARGIN)
    logger.error("ended although %s calls hang", len(hanging))
    try:
        workers.this_worker().leave()
    except Exception:
        logger.exception("no goodbye")
    finally:
        os._exit(REPLACED if hanging else 0)


def _ended(**kwargs: Any) -> None:
    _end()
