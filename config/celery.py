"""The Celery app: four queues, and messages that carry nothing but one id."""

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_ready
from django.db import connection
from kombu import Exchange, Queue

from ops.launch.leash import end_with_parent
from ops.launch.workers import READY_FILE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# A worker would run Django's checks, which load every page, and drop what they find. manage.py runs them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

app = Celery("holdpoint")
app.config_from_object("django.conf:settings", namespace="CELERY")
NAMES = ("runs", "agents", "tools", "caretakers")
# An exchange for each: with the default one, every queue would get a copy of every message.
app.conf.task_queues = [Queue(name, Exchange(name), routing_key=name) for name in NAMES]
# Celery closes the database around each message. With a pool that only gives the connection back; without
# one it would connect anew each time, so there the connection is kept.
if not connection.settings_dict["OPTIONS"].get("pool"):
    app.conf.CELERY_DB_REUSE_MAX = 1_000_000
app.autodiscover_tasks()


@worker_ready.connect
def _say_ready(**_: Any) -> None:
    path = os.environ.get(READY_FILE)
    if path:
        Path(path).touch()


@worker_process_init.connect
def _end_with_worker(**_: Any) -> None:
    # The launcher's leash holds the worker; this one holds the worker's own children.
    end_with_parent()
