"""Named messages from outside, kept until the run asks for them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from runs.models.run import Run


class Message(models.Model):
    """One named message to a run. It waits here when it comes before the run waits for it."""

    id = models.CharField(primary_key=True, max_length=32)
    run = models.ForeignKey(Run, models.CASCADE, related_name="messages", db_constraint=False, db_index=False)
    name = models.CharField(max_length=100)
    payload = models.JSONField(null=True)
    sender = models.CharField(max_length=160, help_text="The actor who sent it.")
    key = models.CharField(
        max_length=200, blank=True, help_text="The sender's own id: sent twice, kept once."
    )
    sent_at = models.DateTimeField()
    taken_by = models.CharField(max_length=32, blank=True, default="", help_text="The step that took it.")
    taken_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "key"], name="message_once_a_key", condition=~Q(key="")),
        ]
        indexes = [
            models.Index(fields=["run", "name", "sent_at"], name="message_waiting", condition=Q(taken_by="")),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.name}"
