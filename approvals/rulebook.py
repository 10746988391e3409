"""The versions of policies: a change is a new row, one version of a name is in force, nothing is overwritten.

Declarations in code become versions at migrate. A version that a person put in force is not replaced by one
from code: the changed declaration waits beside it as a version of its own, until a person puts that in force.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Max

from approvals.declared import Declaration, all_declared
from approvals.models import Policy, PolicyQuerySet
from runs import actors
from runs.clock import db_now
from runs.turns.checkpoint import own_transaction

log = logging.getLogger(__name__)

CODE = "system:policies.py"
#: What a change may change.
TERMS = (
    "order",
    "purpose",
    "conditions",
    "tier",
    "group",
    "quorum",
    "deadline_seconds",
    "on_expiry",
)


def revise(name: str, terms: Mapping[str, Any], *, actor: str, note: str = "") -> Policy:
    """A new version of the policy `name`, in force at once; the first one if there is none yet.

    `terms` are fields of TERMS; what is left out stays as in the version in force. Raises ValidationError, by
    field, and then nothing has changed.
    """
    with own_transaction(), actors.acting_as(actor):
        current = _versions(name).filter(active=True).first()
        kept = {term: getattr(current, term) for term in TERMS} if current else {}
        new = _new_version(name, {**kept, **terms}, actor=actor, note=note)
        return _put_in_force(new)


def put_in_force(policy_id: int, *, actor: str) -> Policy:
    """Make an existing version the one in force of its name. Doing it twice changes nothing.

    Raises Policy.DoesNotExist, and ValidationError when that version cannot stand today.
    """
    with own_transaction(), actors.acting_as(actor):
        name = Policy.objects.values_list("name", flat=True).get(pk=policy_id)
        chosen = _versions(name).get(pk=policy_id)
        if chosen.active:
            return chosen
        chosen.full_clean(validate_constraints=False)
        return _put_in_force(chosen)


def install_declared() -> list[Policy]:
    """Bring the rows in line with what is declared in code; the new versions. Doing it twice changes nothing.

    A declaration that is gone takes its version out of force, unless a person made the one that is.
    """
    declared = all_declared()
    with own_transaction(), actors.acting_as(CODE):
        made = [version for version in map(_install, declared) if version is not None]
        for gone in Policy.objects.in_force().exclude(declared_digest=""):
            if gone.name not in {declaration.name for declaration in declared}:
                _take_out_of_force(gone.name, "No longer declared in code.")
    return made


def _install(declaration: Declaration) -> Policy | None:
    versions = _versions(declaration.name)
    latest = versions.exclude(declared_digest="").order_by("-version").first()
    current = versions.filter(active=True).first()
    if latest is not None and latest.declared_digest == declaration.digest:
        if current is None:  # it was gone from the code, and is back
            _put_in_force(latest)
        return None
    terms = {
        "order": declaration.order,
        "purpose": declaration.purpose,
        "conditions": declaration.conditions.as_json(),
        "tier": declaration.tier,
        "group": Group.objects.get_or_create(name=declaration.group)[0] if declaration.group else None,
        "quorum": declaration.quorum,
        "deadline_seconds": int(declaration.deadline.total_seconds()),
        "on_expiry": declaration.on_expiry,
    }
    new = _new_version(
        declaration.name, terms, actor=CODE, note="Declared in code.", declared=declaration.digest
    )
    if current is not None and not current.from_code:
        log.warning(
            "Policy %s was changed by %s, so version %s from code is not in force; choose in the admin.",
            declaration.name,
            current.made_by,
            new.version,
        )
        return new
    return _put_in_force(new)


def _versions(name: str) -> PolicyQuerySet:
    # All rows of the name are locked, in a statement of its own: what it waited for may have put another
    # version in force, and a condition in the same statement would be asked of the rows from before.
    there = Policy.objects.select_for_update().filter(name=name).order_by("pk")
    list(there.values_list("pk", flat=True))
    return Policy.objects.filter(name=name)


def _new_version(name: str, terms: Mapping[str, Any], *, actor: str, note: str, declared: str = "") -> Policy:
    newest = Policy.objects.filter(name=name).aggregate(newest=Max("version"))["newest"] or 0
    new = Policy(
        name=name,
        version=newest + 1,
        made_by=actor,
        note=note,
        declared_digest=declared,
        created_at=db_now(),
        **terms,
    )
    new.full_clean()
    new.save()
    return new


def _put_in_force(chosen: Policy) -> Policy:
    _take_out_of_force(chosen.name, f"Version {chosen.version} took its place.")
    chosen.active = True
    chosen.save(update_fields=["active", "covers_irreversible"])
    return chosen


def _take_out_of_force(name: str, note: str) -> None:
    for policy in Policy.objects.filter(name=name, active=True):
        policy.active = False
        policy._change_reason = note  # type: ignore[attr-defined]
        policy.save(update_fields=["active"])
