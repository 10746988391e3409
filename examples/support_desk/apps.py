from django.apps import AppConfig


class SupportDeskConfig(AppConfig):
    """A user's own app: refunds and shop requests, from evidence to receipt."""

    name = "examples.support_desk"
    label = "support_desk"
    verbose_name = "Support desk"
    default_auto_field = "django.db.models.BigAutoField"
