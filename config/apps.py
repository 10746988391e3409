from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.contrib.admin import autodiscover
from django.contrib.admin import checks as admin_checks
from django.core import checks


class HoldpointConfig(AppConfig):
    """Wires the apps together; nothing imports this package."""

    name = "config"
    label = "config"
    verbose_name = "Holdpoint"
    default = True

    def ready(self) -> None:
        # shared_task finds its queue only in the app that was made last: make ours in every process.
        import_module("config.celery")


class AdminConfig(admin.SimpleAdminConfig):
    """Django's admin, loaded with the pages (config.urls) and for its checks: no worker has a use for it."""

    default = False

    def ready(self) -> None:
        """Have the checks look at what the apps register."""
        checks.register(admin_checks.check_dependencies, checks.Tags.admin)
        checks.register(_check_admin, checks.Tags.admin)


def _check_admin(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    autodiscover()
    return admin_checks.check_admin_app(app_configs, **kwargs)
