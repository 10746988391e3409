from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class ApprovalsConfig(AppConfig):
    """Who said so: policies, approvals and decisions."""

    name = "approvals"
    label = "approvals"
    verbose_name = "Approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models can be imported from here on only.
        from approvals import declared, services, timers
        from approvals import waits as decisions
        from approvals.gate import ApprovalGate
        from runs import gate, retention, waits
        from runs import timers as caretakers

        gate.install(ApprovalGate())
        waits.install(decisions.waits_of)
        caretakers.register("approvals.expire", timers.expire_due)
        retention.also("approvals", services.purge)
        declared.discover()
        post_migrate.connect(install_declared, sender=self, dispatch_uid="approvals.install_declared")


def install_declared(*, using: str, **kwargs: Any) -> None:
    """After a migrate that left our tables in place: bring the policies in line with the code."""
    from approvals import rulebook
    from approvals.models import Policy

    if using == "default" and Policy._meta.db_table in connections[using].introspection.table_names():
        rulebook.install_declared()
