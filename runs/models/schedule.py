"""Runs that start by the clock."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django_celery_beat.models import CrontabSchedule

from runs.history import stamped_history


class Schedule(models.Model):
    """Starts one workflow again and again. A moment is started once, whoever looks and however often."""

    name = models.CharField(max_length=100, unique=True)
    workflow = models.CharField(max_length=100)
    input = models.JSONField(default=dict, blank=True)
    intent = models.TextField(blank=True, help_text="What its runs are for, in one sentence.")
    crontab = models.ForeignKey(
        CrontabSchedule, models.PROTECT, null=True, blank=True, help_text="At these minutes, hours and days."
    )
    every_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="Or every so many seconds, counted from its last moment."
    )
    skip_while_running = models.BooleanField(
        default=True, help_text="Leave a moment out while its last run goes on."
    )
    enabled = models.BooleanField(default=True)
    owner = models.CharField(max_length=160, help_text="The actor in whose name its runs start.")
    next_at = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)
    last_run = models.CharField(max_length=32, blank=True)
    problem = models.TextField(blank=True, help_text="Why its last moment started nothing.")

    history = stamped_history("next_at", "last_at", "last_run", "problem")

    class Meta:
        indexes = [models.Index(fields=["next_at"], name="schedule_due", condition=Q(enabled=True))]
        constraints = [
            models.CheckConstraint(
                condition=Q(crontab__isnull=False, every_seconds__isnull=True)
                | Q(crontab__isnull=True, every_seconds__gte=1),
                name="schedule_has_one_clock",
            )
        ]

    def __str__(self) -> str:
        return self.name
