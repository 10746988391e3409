from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Who said so: policies, approvals and decisions."""

    name = "approvals"
    label = "approvals"
    verbose_name = "Approvals"
    default_auto_field = "django.db.models.BigAutoField"
