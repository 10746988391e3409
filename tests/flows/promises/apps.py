from django.apps import AppConfig


class PromisesConfig(AppConfig):
    """A user's app whose workflows the stories tell of."""

    name = "tests.flows.promises"
    label = "promises"
