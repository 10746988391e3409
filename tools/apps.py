from django.apps import AppConfig


class ToolsConfig(AppConfig):
    """What may be done: tools, their contracts and every attempt to call one."""

    name = "tools"
    label = "tools"
    verbose_name = "Tools"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tools import checks, registry  # noqa: F401 - the checks register themselves; both need loaded models
        from tools.mcp import servers

        registry.discover()
        servers.check()
