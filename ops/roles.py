"""The groups that people belong to, and what each of them may at least do."""

from django.contrib.auth.models import Group, Permission
from django.db import transaction

#: Apps whose rows every role may look at.
SEEN = ("tools", "runs", "approvals", "ops")

DETAILS = ("view_technical", "view_artifact_content")

#: What a role may do beyond looking. Nobody decides by being an operator, nobody starts runs by reviewing.
ROLES: dict[str, tuple[str, ...]] = {
    "reviewers": ("approvals.decide_approval", "runs.answer_question", "runs.view_artifact_content"),
    "operators": (
        "runs.start_run",
        "runs.control_run",
        "runs.grant_budget",
        "runs.send_message",
        "runs.answer_question",
        "runs.activate_workflow",
        *(f"runs.{act}_schedule" for act in ("add", "change", "delete")),
        *(f"django_celery_beat.{act}_crontabschedule" for act in ("add", "change", "view")),
        "runs.view_technical",
        "runs.view_artifact_content",
        "tools.settle_toolcall",
        "tools.sign_remotetool",
        "tools.move_toolbreaker",
        "tools.switch_tool",
    ),
    "auditors": ("runs.verify_journal",),
}


@transaction.atomic
def ensure_roles() -> None:
    """Makes the groups that are missing and gives each what it lacks; takes nothing away."""
    looks = list(Permission.objects.filter(content_type__app_label__in=SEEN, codename__startswith="view_"))
    # These are not rows to look at but levels of detail, which roles grant by name.
    looks = [permission for permission in looks if permission.codename not in DETAILS]
    for name, acts in ROLES.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*looks, *(_permission(act) for act in acts))


def _permission(name: str) -> Permission:
    app, _, codename = name.partition(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)
