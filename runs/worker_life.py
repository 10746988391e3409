"""What a Celery worker process does besides its turns: it registers, beats, sweeps and says goodbye."""

from __future__ import annotations

from typing import Any

from celery.signals import (
    celeryd_after_setup,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
)
from django.db import connections

from runs import timers, workers

SWEEP_EVERY = 1.0  # seconds

_pulse: workers.Pulse | None = None


def connect() -> None:
    """Follow Celery's signals: a pool of threads lives in the main process, prefork in its children."""
    celeryd_after_setup.connect(_set_up, dispatch_uid="runs.worker_life.set_up")
    worker_ready.connect(_thread_pool_started, dispatch_uid="runs.worker_life.ready")
    worker_shutdown.connect(_ended, dispatch_uid="runs.worker_life.shutdown")
    worker_process_init.connect(_child_started, dispatch_uid="runs.worker_life.child")
    worker_process_shutdown.connect(_ended, dispatch_uid="runs.worker_life.child_shutdown")


def _set_up(sender: Any = None, instance: Any = None, **kwargs: Any) -> None:
    pool = "prefork" if "prefork" in str(instance.pool_cls) else "threads"
    workers.describe(",".join(sorted(instance.app.amqp.queues.consume_from)), pool)


def _start() -> None:
    global _pulse
    workers.this_worker()
    _pulse = workers.Pulse(timers.sweep, SWEEP_EVERY)
    _pulse.start()


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
    _start()


def _ended(**kwargs: Any) -> None:
    _end()
