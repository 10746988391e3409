"""The processes that hold leases."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Worker(models.Model):
    """One worker process, its heartbeat and the proof that it lives."""

    id = models.CharField(primary_key=True, max_length=32)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    process_started = models.CharField(
        max_length=40, help_text="Tells a process from a later one of that pid."
    )
    queues = models.CharField(max_length=200)
    pool = models.CharField(max_length=20)
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    draining_at = models.DateTimeField(null=True, help_text="Since then it takes nothing new.")
    stopped_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["beat_at"], name="worker_alive", condition=Q(stopped_at=None))]

    def __str__(self) -> str:
        return f"{self.id} on {self.host}"
