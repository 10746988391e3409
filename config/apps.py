from importlib import import_module

from django.apps import AppConfig


class HoldpointConfig(AppConfig):
    """Wires the apps together; nothing imports this package."""

    name = "config"
    label = "config"
    verbose_name = "Holdpoint"

    def ready(self) -> None:
        # shared_task finds its queue only in the app that was made last: make ours in every process.
        import_module("config.celery")
