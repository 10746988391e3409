"""Tells the pages of runs which decisions they wait for (fills the port in runs.waits)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from django.db.models import Q
from django.urls import reverse

from approvals import queries
from approvals.models import Approval
from approvals.words import THEN, asked_of
from runs.gate import Next
from runs.waits import Wait

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def waits_of(run_ids: Collection[str], viewer: User) -> list[Wait]:
    """The pending decisions of these runs, most urgent first; none for who may not see approvals."""
    if not viewer.has_perm("approvals.view_approval"):
        return []
    mine = set(queries.queue_for(viewer).filter(run__in=run_ids).values_list("pk", flat=True))
    pending = queries.open_approvals().filter(Q(run__in=run_ids))
    return [_wait(approval, may_act=approval.pk in mine) for approval in pending]


def _wait(approval: Approval, *, may_act: bool) -> Wait:
    return Wait(
        run_id=approval.run_id,
        step_id=approval.step_id,
        what=approval.title,
        who=asked_of(approval),
        since=approval.created_at,
        until=approval.expires_at,
        then=THEN[Next(approval.on_expiry)],
        url=reverse("approvals:approval", args=[approval.pk]),
        may_act=may_act,
    )
