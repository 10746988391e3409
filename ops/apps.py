from importlib import import_module

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class OpsConfig(AppConfig):
    """How it is going: health, people, and starting the processes."""

    name = "ops"
    label = "ops"
    verbose_name = "Operations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Sent when an app with tables is complete, permissions included: the last that roles name.
        post_migrate.connect(_ensure_roles, sender=apps.get_app_config("approvals"))


def _ensure_roles(**_: object) -> None:
    # The groups need models, which cannot be imported while this file is.
    import_module("ops.roles").ensure_roles()
