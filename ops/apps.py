from django.apps import AppConfig


class OpsConfig(AppConfig):
    """How it is going: health, people, and starting the processes."""

    name = "ops"
    label = "ops"
    verbose_name = "Operations"
    default_auto_field = "django.db.models.BigAutoField"
