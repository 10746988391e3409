"""The append-only record of a run, one row a line."""

from __future__ import annotations

from django.db import models

from runs.models.run import Run


class JournalEntry(models.Model):
    """One line of the append-only record of a run; each line seals the one before it.

    ``hash`` of an entry is not stored in it: it is the ``previous`` of the next one, and of the last one the
    head on the run row.
    """

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, related_name="journal", db_constraint=False, db_index=False)
    seq = models.BigIntegerField()
    at = models.DateTimeField(help_text="The database's time at the claim plus monotonic time since.")
    recorded_at = models.DateTimeField(help_text="The database's own time; not part of the seal.")
    actor = models.CharField(max_length=160)
    kind = models.CharField(max_length=40)
    sentence = models.TextField()
    step_id = models.CharField(max_length=32, blank=True)
    content = models.JSONField(null=True, help_text="Details; may be purged, its digest stays in the seal.")
    digest = models.BinaryField()
    previous = models.BinaryField()
    key_id = models.CharField(max_length=20)
    mac = models.BinaryField()

    class Meta:
        verbose_name_plural = "journal entries"
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="entry_once_a_seq")]
        permissions = [("verify_journal", "Can verify and export journals")]

    def __str__(self) -> str:
        return f"{self.run_id} #{self.seq} {self.kind}"
