"""Who may decide: the same answer for the queue, the page and the act."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser

from approvals.refusals import NotAllowed
from runs import actors

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from approvals.models import Approval

DECIDE = "approvals.decide_approval"


def objection(approval: Approval, person: User | AnonymousUser) -> str:
    """Why `person` may not decide `approval`, with the cure; empty when they may. Superusers are no
    exception.
    """
    if not person.is_active or not person.has_perm(DECIDE):
        return "You may not decide approvals; an administrator can give you the permission to decide."
    if is_requester(approval, person):
        return "You asked for this yourself, so somebody else must decide it."
    group = approval.group
    if group is not None and not person.groups.filter(pk=group.pk).exists():
        return f"Only members of {group.name} decide this; ask one of them, or be added to that group."
    return ""


def is_requester(approval: Approval, person: User | AnonymousUser) -> bool:
    """Whether the call would be made for this person, or the run was started by them."""
    actor = actors.user(person.get_username())
    return approval.requester_user_id == person.pk or actor in (approval.requester, approval.run.requester)


def must_be_allowed(approval: Approval, person: User | AnonymousUser) -> None:
    """Raise NotAllowed, with cause and cure, unless `person` may decide `approval`."""
    reason = objection(approval, person)
    if reason:
        raise NotAllowed(reason)
