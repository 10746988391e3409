"""Outputs of runs: named, versioned, and kept once for each content."""

from __future__ import annotations

from django.db import models

from runs.models.run import Run


class Blob(models.Model):
    """Bytes under their own SHA-256: the same content is kept once, and cannot change unnoticed."""

    digest = models.CharField(primary_key=True, max_length=64)
    content = models.BinaryField(null=True, help_text="NULL once its time to be kept is over.")
    size = models.BigIntegerField(help_text="In bytes.")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.digest


class Artifact(models.Model):
    """One version of a named output of a run."""

    id = models.CharField(primary_key=True, max_length=32)
    run = models.ForeignKey(
        Run, models.CASCADE, related_name="artifacts", db_constraint=False, db_index=False
    )
    name = models.CharField(max_length=200)
    version = models.PositiveIntegerField(help_text="Counts from 1 within its name.")
    title = models.CharField(max_length=200, blank=True)
    media_type = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, db_index=True)
    size = models.BigIntegerField(help_text="In bytes.")
    step_id = models.CharField(max_length=32)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "name", "version"], name="artifact_once_a_version")
        ]
        permissions = [("view_artifact_content", "Can open the content of artifacts")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"
