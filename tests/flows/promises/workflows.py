"""Workflows that the stories run."""

from __future__ import annotations

import os
import signal
from typing import Any, Literal

from pydantic import BaseModel

from runs.context import Run
from runs.gate import Next, Rejected
from runs.workflow import workflow
from tests.flows.promises import world
from tests.flows.promises.tools import (
    await_file,
    carve,
    freeze,
    hang,
    launch,
    look,
    pay,
    plod,
    poison,
    put,
    stall,
    weigh,
)


class Act(BaseModel):
    """One thing to do. `first` and `then` are files that it waits for, before and after its effect."""

    do: Literal[
        "look",
        "put",
        "launch",
        "poison",
        "think",
        "sleep",
        "now",
        "uuid",
        "random",
        "weigh",
        "carve",
        "freeze",
        "hang",
        "die",
        "stall",
        "plod",
        "pay",
    ]
    name: str = ""
    first: str = ""
    then: str = ""
    seconds: float = 0.0
    loses_its_answer: bool = False


class Plan(BaseModel):
    """What to do, one after the other."""

    acts: list[Act]


class Walk(BaseModel):
    """How often to look."""

    looks: int = 3


@workflow("promises.plan", owner="Tests", unit="one plan")
def follow(run: Run, plan: Plan) -> list[str]:
    """Do what the plan says; the results."""
    return [str(_do(run, act)) for act in plan.acts]


@workflow("promises.side_by_side", owner="Tests", unit="one plan")
def side_by_side(run: Run, plan: Plan) -> list[str]:
    """Do what the plan says, all at once."""
    tools = {"weigh": weigh, "carve": carve, "look": look, "put": put, "plod": plod}
    return run.gather(*[run.later(tools[act.do], act.name, act.first, act.then) for act in plan.acts])


@workflow("promises.walk", owner="Tests", unit="one walk")
def walk(run: Run, plan: Walk) -> list[str]:
    """Look around, then put something down."""
    seen = [run.tool(look, f"{run.id}-{number}") for number in range(plan.looks)]
    return [*seen, run.tool(put, run.id)]


def _do(run: Run, act: Act) -> Any:
    match act.do:
        case "look":
            return run.tool(look, act.name, act.first, act.then)
        case "put":
            return run.tool(put, act.name, act.first, act.then)
        case "launch":
            return _launch(run, act)
        case "poison":
            return run.tool(poison)
        case "think":
            return _think(act)
        case "weigh":
            return run.tool(weigh, act.name, act.first, act.then)
        case "carve":
            return run.tool(carve, act.name, act.first, act.then)
        case "freeze":
            return run.tool(freeze, act.name)
        case "hang":
            return run.tool(hang, act.name, act.then)
        case "stall":
            return run.tool(stall, act.name)
        case "plod":
            return run.tool(plod, act.name, act.first, act.then)
        case "pay":
            return run.tool(pay, act.name, act.then)
        case "die":
            return _die(act)
        case "sleep":
            return run.sleep(act.seconds)
        case value:
            return getattr(run, value)()


def _die(act: Act) -> str:
    """Between two steps the whole process ends: nothing of the turn was written."""
    world.happen(f"die {act.name}")
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def _think(act: Act) -> str:
    """Between two steps: nothing but workflow code runs."""
    world.happen(f"think {act.name}")
    await_file(act.then)
    return act.name


def _launch(run: Run, act: Act) -> str:
    """Propose a launch, and another draft for as long as it is sent back; a stop is left to the engine."""
    draft = 1
    while True:
        try:
            name = f"{act.name} {draft}" if draft > 1 else act.name
            return run.tool(
                launch, name, act.first, act.then, act.loses_its_answer, why=f"Draft {draft} of {act.name}."
            )
        except Rejected as verdict:
            if verdict.next is Next.STOP:
                raise
            if verdict.next is Next.CONTINUE:
                return f"without {act.name}: {verdict.reason}"
            draft += 1


class Letters(BaseModel):
    """`gate` is a file for which a look waits, while a question is open and a message awaited."""

    gate: str = ""


@workflow("promises.letters", owner="Tests", unit="one exchange of letters")
def letters(run: Run, case: Letters) -> list[Any]:
    """Ask a person and wait for a message, with a look in between; then put something down."""
    run.progress("Begins")
    sure, first, _ = run.gather(
        run.later(run.ask, "Sure?", bool),
        run.later(run.wait_for, "go", int),
        run.later(look, f"beside {run.id}", then=case.gate),
    )
    run.artifact("letter", f"{first} {sure}")
    run.tool(put, run.id)
    return [first, sure, run.wait_for("go", int), run.read_artifact("letter")]


class Household(BaseModel):
    """Whose work it is."""

    name: str


@workflow("promises.household", owner="Tests", unit="one household")
def household(run: Run, case: Household) -> list[str]:
    """Things side by side, children waited for and not, a race, and a second round as a fresh run."""
    done = run.gather(
        run.later(put, f"{case.name} a"), run.later(look, case.name), run.later(_two_puts, case.name)
    )
    run.gather(*(run.later(run.child, walk, Walk(looks=looks)) for looks in (1, 2)))
    run.child(walk, Walk(looks=1), wait=False)
    place, _ = run.race(run.later(run.sleep, 3600), run.later(put, f"{case.name} d"))
    if not case.name.endswith("again"):
        run.restart(Household(name=f"{case.name} again"))
    return [str(done), str(place)]


def _two_puts(run: Run, name: str) -> list[str]:
    return [run.tool(put, f"{name} b"), run.tool(put, f"{name} c")]
