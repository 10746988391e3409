"""Keys for other systems, and the answers that a repeated request gets again."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from runs.history import stamped_history


class Token(models.Model):
    """Lets one system act in one name, within scopes, for a time. Only a hash of the secret is kept."""

    id = models.CharField(primary_key=True, max_length=32)
    name = models.CharField(max_length=100, help_text="Which system holds it.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", help_text="Whose rights it has, at most."
    )
    secret_hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    created_by = models.CharField(max_length=160)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)

    history = stamped_history("secret_hash", "last_used_at")

    def __str__(self) -> str:
        return f"{self.id} {self.name}"


class KeptAnswer(models.Model):
    """What a request with an Idempotency-Key was answered: the same key gets it again, and does nothing."""

    id = models.BigAutoField(primary_key=True)
    actor = models.CharField(max_length=160)
    key = models.CharField(max_length=200)
    request_digest = models.CharField(max_length=64, help_text="Digest of method, path and body.")
    status = models.PositiveSmallIntegerField(null=True, help_text="NULL while it is being worked on.")
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["actor", "key"], name="answer_once_a_key")]

    def __str__(self) -> str:
        return f"{self.actor} {self.key}"
