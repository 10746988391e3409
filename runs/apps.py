from django.apps import AppConfig


class RunsConfig(AppConfig):
    """What is being done: workflows, runs, steps and the journal."""

    name = "runs"
    label = "runs"
    verbose_name = "Runs"
    default_auto_field = "django.db.models.BigAutoField"
