"""Everything on record, as plain rows by table and column."""

from __future__ import annotations

from typing import Any

from django.apps import apps

from runs.models import Worker, WorkflowVersion

Rows = dict[str, list[dict[str, Any]]]


def everything() -> Rows:
    """Each table of tools, runs and approvals with its rows, in order of their keys.

    Heartbeats are left out, and the versions of workflows: they are those that this process has imported.
    """
    left_out = (Worker, WorkflowVersion, WorkflowVersion.history.model)
    models = [m for label in ("tools", "runs", "approvals") for m in apps.get_app_config(label).get_models()]
    return {m._meta.db_table: list(m.objects.order_by("pk").values()) for m in models if m not in left_out}
