"""The caretaker of deadlines: requests that nobody decided in time. Safe to run twice and anywhere."""

from __future__ import annotations

import logging

from django.db.models import Q

from approvals import services
from approvals.models import Approval
from runs.clock import ClockTimestamp

log = logging.getLogger(__name__)

BATCH = 200


def expire_due() -> int:
    """Expire every request whose time is over; how many were. One that fails is left for the next round."""
    expired, after = 0, Q()
    while True:
        due = Approval.objects.pending().filter(after, expires_at__lte=ClockTimestamp())
        batch = list(due.order_by("expires_at", "id").values_list("expires_at", "id")[:BATCH])
        for _, approval_id in batch:
            try:
                expired += services.expire(approval_id)
            except Exception:
                log.exception("approval was left for the next round", extra={"approval": approval_id})
        if len(batch) < BATCH:
            return expired
        # By key, not by offset: a row that fails again and again keeps nobody behind it waiting.
        moment, last = batch[-1]
        after = Q(expires_at__gt=moment) | Q(expires_at=moment, id__gt=last)
