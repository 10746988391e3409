"""Everything on record, as plain rows by table and column."""

from __future__ import annotations

from typing import Any

from django.apps import apps

from runs.models import Worker

Rows = dict[str, list[dict[str, Any]]]


def everything() -> Rows:
    """Each table of tools, runs and approvals with its rows, in order of their keys; heartbeats left out."""
    models = [m for label in ("tools", "runs", "approvals") for m in apps.get_app_config(label).get_models()]
    return {m._meta.db_table: list(m.objects.order_by("pk").values()) for m in models if m is not Worker}
