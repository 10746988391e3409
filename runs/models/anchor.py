"""Signed lists of the journals' heads, made now and then and kept outside the database."""

from __future__ import annotations

from django.db import models


class Anchor(models.Model):
    """One list: which entries it covers, and the digest that the next one names."""

    id = models.BigAutoField(primary_key=True)
    made_at = models.DateTimeField()
    up_to = models.BigIntegerField(help_text="The last journal entry it covers, by the database's number.")
    runs = models.PositiveIntegerField(help_text="How many runs had moved since the one before.")
    digest = models.CharField(max_length=64)
    name = models.CharField(max_length=100, help_text="The file it was written to.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["up_to"], name="anchor_once_a_place")]

    def __str__(self) -> str:
        return self.name
