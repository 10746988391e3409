"""The tools there are, by name. Users write ``@tool`` in the ``tools.py`` of any installed app."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.utils.module_loading import autodiscover_modules

from tools.contract import ContractError, Tool
from tools.effects import Effect, Reversibility, Risk
from tools.options import Breaker, Limit
from tools.retry import RetryPolicy

AUTODISCOVER_MODULE_NAME = "tools"

_tools: dict[str, Tool] = {}


class UnknownTool(LookupError):
    """There is no tool of that name here."""


def tool(
    *,
    effect: Effect | str,
    risk: Risk | str = Risk.LOW,
    timeout: float = 30,
    version: int = 1,
    name: str | None = None,
    title: str = "",
    rollback: str | Tool = "",
    reversibility: Reversibility | str | None = None,
    queue: str = "",
    secrets: Mapping[str, str] | None = None,
    breaker: Breaker | None = None,
    limit: Limit | None = None,
    retry: RetryPolicy | None = None,
    on_used_up: str = "fail",
) -> Callable[[Callable[..., Any]], Tool]:
    """Declare the function below as a tool, known by `name` or its own name.

    `timeout` is in seconds, `secrets` are references by name. Raises ContractError when the declaration
    cannot work or the name is taken.
    """

    def declare(function: Callable[..., Any]) -> Tool:
        return add(
            Tool(
                function,
                effect=effect,
                risk=risk,
                timeout=timeout,
                version=version,
                name=name,
                title=title,
                rollback=rollback,
                reversibility=reversibility,
                queue=queue,
                secrets=secrets,
                breaker=breaker,
                limit=limit,
                retry=retry,
                on_used_up=on_used_up,
            )
        )

    return declare


def add(new: Tool) -> Tool:
    """Register `new`. Raises ContractError when another tool has its name."""
    there = _tools.get(new.name)
    if there is not None:
        raise ContractError(
            f"There are two tools called {new.name}, in {there.function.__module__} and "
            f"{new.function.__module__}; give one of them another name"
        )
    _tools[new.name] = new
    return new


def get(name: str) -> Tool:
    """The tool of that name. Raises UnknownTool."""
    try:
        return _tools[name]
    except KeyError:
        near = difflib.get_close_matches(name, _tools, n=1)
        hint = (
            f"did you mean {near[0]}?" if near else "tools are declared in the tools.py of an installed app"
        )
        raise UnknownTool(f"There is no tool called {name}; {hint}") from None


def all_tools() -> list[Tool]:
    """Every tool, by name."""
    return [_tools[name] for name in sorted(_tools)]


def rollback_of(undoable: Tool) -> Tool | None:
    """The tool that undoes `undoable`, if its rollback names one rather than being a sentence."""
    return _tools.get(undoable.rollback)


def discover() -> None:
    """Import the ``tools.py`` of every installed app, as Django finds admin.py."""
    autodiscover_modules(AUTODISCOVER_MODULE_NAME)


@contextmanager
def scratch() -> Iterator[None]:
    """For tests: tools declared inside are forgotten at the end."""
    kept = dict(_tools)
    try:
        yield
    finally:
        _tools.clear()
        _tools.update(kept)
