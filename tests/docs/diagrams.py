"""Draws docs/reference/states.md from the state machines themselves.

``python3 -m tests.docs.diagrams`` writes the page anew after a change; a test compares.
"""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Iterator
from typing import Any

import django

from tests.docs.pages import DOCS

PAGE = DOCS / "reference" / "states.md"
INTRODUCTION = """\
# States

Drawn from the code: the machines are the only way a state changes, and a test compares this page with them.
Each arrow bears the name of the move. The words are those on screens, in commands and in rows.
"""


def page() -> str:
    """The whole page."""
    from approvals.models import Approval
    from runs.models import Run, Step
    from tools.models import ToolCall

    machines = (
        ("Run", Run, "One execution of a workflow."),
        (
            "Step",
            Step,
            "One recorded act of a run. A wait begins as `waiting`, a call that a person must decide as "
            "`held`, a recorded value as `succeeded`.",
        ),
        ("Tool call", ToolCall, "One attempt of one tool; a step that is retried has several."),
        ("Approval", Approval, "A request that people decide. Expired is never shown as rejected."),
    )
    return "\n".join([INTRODUCTION, *(_section(*machine) for machine in machines)])


def moves(model: Any) -> list[tuple[str, str, str, str]]:
    """Every (source, name, target, meaning) of a model's machine."""
    found = []
    for name, method in inspect.getmembers(model, inspect.isfunction):
        machine = getattr(method, "_django_fsm", None)
        for source, transition in (machine.transitions if machine else {}).items():
            meaning = " ".join((inspect.getdoc(method) or "").split())
            found.append((str(source), name, str(transition.target), meaning))
    return sorted(found)


def states_of(model: Any) -> list[str]:
    """Every state that the model's column may hold, in the order of the code."""
    return [str(value) for value, _ in model._meta.get_field("state").choices]


def _section(title: str, model: Any, sentence: str) -> str:
    return "\n".join(
        [
            f"## {title}",
            "",
            textwrap.fill(sentence, 115),
            "",
            *_diagram(model),
            "",
            *_table(model),
            *_unused(model),
            "",
        ]
    )


def _diagram(model: Any) -> Iterator[str]:
    drawn = moves(model)
    leaving = {source for source, *_ in drawn}
    reached = {target for _, _, target, _ in drawn}
    first = str(model._meta.get_field("state").get_default())
    yield from ("```mermaid", "stateDiagram-v2", f"    [*] --> {first}")
    for source, name, target, _ in drawn:
        yield f"    {source} --> {target}: {name}"
    for state in states_of(model):
        if state in reached - leaving:
            yield f"    {state} --> [*]"
    yield "```"


def _table(model: Any) -> Iterator[str]:
    from runs.states import LOOKS

    yield from ("| state | shown as |", "| --- | --- |")
    for state in states_of(model):
        yield f"| `{state}` | {LOOKS[state].word} |"
    yield from ("", "| move | to | what it means |", "| --- | --- | --- |")
    for name, target, meaning in sorted(
        {(name, target, meaning) for _, name, target, meaning in moves(model)}
    ):
        yield f"| `{name}` | `{target}` | {meaning} |"


def _unused(model: Any) -> Iterator[str]:
    known = {state for source, _, target, _ in moves(model) for state in (source, target)}
    unused = [f"`{state}`" for state in states_of(model) if state not in known]
    if unused:
        yield from ("", f"No move leads to {', '.join(unused)} in this version.")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    PAGE.write_text(page(), encoding="utf-8")
