"""The Celery app: four queues, and messages that carry nothing but one id."""

import os

from celery import Celery
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("holdpoint")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_queues = [Queue(name) for name in ("runs", "agents", "tools", "caretakers")]
app.autodiscover_tasks()
