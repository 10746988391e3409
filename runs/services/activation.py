"""Which versions of a workflow may start runs, and the person who says so."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model

from runs import workflow
from runs.actors import acting_as, plain_name, username_of
from runs.clock import db_now
from runs.code import digest_of
from runs.models import VersionState, WorkflowVersion
from runs.services.record import NotPossible, said_why
from runs.turns.checkpoint import own_transaction
from runs.workflow import Workflow

PERMISSION = "runs.activate_workflow"
OWN = "holdpoint."  # the engine's own workflows come with it and are nobody's to activate


class NotActive(NotPossible):
    """The version may not start runs: nobody has activated it, or it was retired."""


def choose_version(name: str, version: int | None = None) -> Workflow:
    """The workflow that a new run is to follow: that version, or the newest that is active.

    Raises UnknownWorkflow, and NotActive with what to type. With HOLDPOINT_ACTIVATION off every version may
    start runs.
    """
    definition = workflow.get(name, version)
    if not settings.HOLDPOINT_ACTIVATION or definition.built_in:
        return definition
    rows = WorkflowVersion.objects.filter(name=name, version__in=workflow.versions_of(name))
    if version is not None:
        rows = rows.filter(version=version)
    newest = rows.filter(state=VersionState.ACTIVE).order_by("-version").first()
    if newest is None:
        raise NotActive(_not_active(definition, version), code="not_active")
    return workflow.get(name, newest.version)


def _not_active(definition: Workflow, version: int | None) -> str:
    row = WorkflowVersion.objects.filter(name=definition.name, version=definition.version).first()
    if version is None:
        subject, what = f"No version of {definition.name} is active", "nobody has activated one"
    else:
        subject = f"{definition.name} version {definition.version} is not active"
        what = "nobody has activated it"
    if row is not None and row.state == VersionState.RETIRED:
        what = f"{plain_name(row.activated_by)} retired version {row.version}"
    return (
        f"{subject}: {what}. Whoever may do so types: python3 manage.py runs activate {definition.name} "
        f'{definition.version} --by USERNAME --reason "WHY"'
    )


def activate_version(name: str, version: int, *, actor: str, reason: str) -> WorkflowVersion:
    """Let the version, with the code it has here and now, start runs, on the word of `actor`.

    Also right for one that is active: its code is then taken as it is by now. Raises UnknownWorkflow, and
    NotPossible for a machine, for a person without the permission, and without a reason.
    """
    definition = workflow.get(name, version)
    why = _allowed(actor, reason)
    with own_transaction(), acting_as(actor):
        row = _locked(name, version)
        row.activate()
        row.code = digest_of(definition)
        _sign(row, actor, why)
    return row


def retire_version(name: str, version: int, *, actor: str, reason: str) -> WorkflowVersion:
    """Let the version start no more runs; those under way go on with it.

    Raises NotPossible when it is not active, and as `activate_version` does.
    """
    why = _allowed(actor, reason)
    with own_transaction(), acting_as(actor):
        row = _locked(name, version)
        if row.state != VersionState.ACTIVE:
            raise NotPossible(f"{name} version {version} is not active: there is nothing to retire.")
        row.retire()
        _sign(row, actor, why)
    return row


def note_versions(**_: object) -> None:
    """Give every version in code its row, for people to see and to activate; called after migrations."""
    rows = WorkflowVersion.objects.all()
    noted = set(rows.values_list("name", "version"))
    for known in workflow.all_workflows():
        if (known.name, known.version) not in noted and not known.name.startswith(OWN):
            rows.get_or_create(name=known.name, version=known.version)


def versions_not_as_activated() -> list[WorkflowVersion]:
    """Active versions whose code here is not the code that was activated."""
    here = {(known.name, known.version): known for known in workflow.all_workflows()}
    active = WorkflowVersion.objects.filter(state=VersionState.ACTIVE).exclude(code="")
    found = [(row, here.get((row.name, row.version))) for row in active.order_by("name", "version")]
    return [row for row, known in found if known is not None and digest_of(known) != row.code]


def _locked(name: str, version: int) -> WorkflowVersion:
    WorkflowVersion.objects.get_or_create(name=name, version=version)
    return WorkflowVersion.objects.select_for_update().get(name=name, version=version)


def _sign(row: WorkflowVersion, actor: str, why: str) -> None:
    row.activated_by, row.activated_at, row.note = actor, db_now(), why
    row._change_reason = why  # type: ignore[attr-defined]
    row.save()


def _allowed(actor: str, reason: str) -> str:
    """The reason, from a person who may. Raises NotPossible."""
    username = username_of(actor)
    if username is None:
        raise NotPossible("Only a person, by name, activates and retires workflows.", code="person")
    user = get_user_model().objects.filter(username=username, is_active=True).first()
    if user is None or not user.has_perm(PERMISSION):
        cure = f"an administrator can give them the permission {PERMISSION}"
        raise NotPossible(f"{username} may not activate or retire workflows; {cure}.", code="permission")
    return said_why(reason)
