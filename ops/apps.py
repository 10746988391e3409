from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class OpsConfig(AppConfig):
    """How it is going: health, people, and starting the processes."""

    name = "ops"
    label = "ops"
    verbose_name = "Operations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(_ensure_roles, sender=self)


def _ensure_roles(**_: object) -> None:
    # The groups need models, which cannot be imported while this file is.
    import_module("ops.roles").ensure_roles()
