from django.apps import AppConfig


class CanaryConfig(AppConfig):
    """A user's app whose tools give their secrets away wherever they can."""

    name = "tests.flows.canary"
    label = "canary"
