"""What Django's system check says about declared tools, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning, register  # noqa: A004

from tools.contract import Tool
from tools.effects import Effect, Risk
from tools.registry import all_tools, rollback_of

_GRAVE = (Risk.HIGH, Risk.CRITICAL)


@register()
def check_tools(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Every remark on every tool; each names the cure."""
    return [remark for tool in all_tools() for remark in _remarks(tool)]


def _remarks(tool: Tool) -> Iterator[CheckMessage]:
    for_good = tool.effect is Effect.IRREVERSIBLE
    if for_good and not tool.has("lookup"):
        yield Warning(
            f"{tool.name} is irreversible without a lookup: a person must settle each call that is cut off.",
            hint=f"Declare one that asks the other side by key: @{tool.name}.lookup",
            obj=tool,
            id="tools.W001",
        )
    if (for_good or (tool.effect is Effect.WRITE and tool.risk in _GRAVE)) and not tool.has("preview"):
        yield Warning(
            f"{tool.name} ({tool.effect}, risk {tool.risk}) has no preview: reviewers see bare arguments.",
            hint=f"Declare one that shows what changes: @{tool.name}.preview",
            obj=tool,
            id="tools.W002",
        )
    if for_good and not tool.rollback:
        yield Warning(
            f"{tool.name} is irreversible and does not say what to do if it was wrong.",
            hint='Give a sentence: rollback="Ask finance to reverse the payment"',
            obj=tool,
            id="tools.W003",
        )
    if (
        tool.rollback
        and tool.rollback.replace("_", "").isalnum()
        and "_" in tool.rollback
        and not rollback_of(tool)
    ):
        yield Warning(
            f"{tool.name} names {tool.rollback} as its rollback, and there is no such tool.",
            hint="Name a declared tool, or write a sentence.",
            obj=tool,
            id="tools.W004",
        )
    if not tool.description:
        yield Warning(
            f"{tool.name} has no description, which is all that a model and a reviewer know about it.",
            hint="Give its function a docstring.",
            obj=tool,
            id="tools.W005",
        )
