"""Forgetting the answers that requests with an Idempotency-Key were given, once their day is over."""

from __future__ import annotations

from datetime import timedelta

from runs.clock import db_now
from runs.models import KeptAnswer

KEPT_FOR = timedelta(days=1)
BATCH = 500


def forget_answers() -> int:
    """Delete a batch of answers that have been kept for a day; how many. Safe to run twice."""
    old = KeptAnswer.objects.filter(created_at__lte=db_now() - KEPT_FOR).order_by("created_at", "id")
    ids = list(old.values_list("pk", flat=True)[:BATCH])
    return KeptAnswer.objects.filter(pk__in=ids).delete()[0] if ids else 0
