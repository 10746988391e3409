"""What an agent is: what it is told, what it may use, what it must answer and how far it may go."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from tools.contract import Tool
from tools.failures import Failure, ToolError

SCRIPTED = "scripted"
NAME = re.compile(r"[a-z][a-z0-9-]*")


class UnknownAgent(LookupError):
    """No installed app's agents.py defines this agent."""


class AgentFailed(ToolError):
    """The agent came to no answer: its model failed, its answers were wrong, or its limits are used up."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, retry_after=failure.retry_after)
        self.kind = failure.kind
        self.failure = failure


@dataclass(frozen=True)
class Limits:
    """How far one run of the agent may go. None: no limit of its own; the workflow's budget still holds."""

    model_requests: int = 30
    tool_calls: int = 60
    tokens: int | None = None  # input and output together
    cost_usd: Decimal | None = None  # counts only requests whose price is known
    cost_usd_a_day: Decimal | None = None  # of all runs together, from midnight UTC
    request_seconds: float = 120.0  # one model request
    corrections: int = 2  # times that a wrong answer or wrong arguments may be put right


@dataclass(frozen=True, eq=False)
class AgentDefinition:
    """One version of an agent, as declared in an agents.py."""

    name: str
    version: int
    output: Any
    tools: tuple[Tool, ...]
    instructions: str
    model: str | None = None
    script: Callable[..., Any] | None = None
    limits: Limits = Limits()
    bind: Callable[[Any], Mapping[str, Any]] | None = None

    @property
    def model_identifier(self) -> str:
        """The model that answers here and now: `scripted:<agent>` or the live one's name.

        HOLDPOINT_MODEL decides: by default every agent that has a script plays it; naming a live model there
        turns all of them live, each with its own `model` where it declares one. Raises ImproperlyConfigured
        when there is nobody to answer.
        """
        if self.scripted:
            return f"{SCRIPTED}:{self.name}"
        live = self.model or configured_model()
        if live != SCRIPTED:
            return live
        raise ImproperlyConfigured(
            f"Agent {self.name} has no script and no live model is set: give it script=… or model=… in "
            "agents.py, or set HOLDPOINT_MODEL, for example to openai-chat:NAME."
        )

    @property
    def scripted(self) -> bool:
        """Does a script answer in place of a model? Screens must say so."""
        return self.script is not None and configured_model() == SCRIPTED


def configured_model() -> str:
    """The HOLDPOINT_MODEL setting: `scripted` unless a live model is named."""
    return str(getattr(settings, "HOLDPOINT_MODEL", "") or SCRIPTED)


_agents: dict[tuple[str, int], AgentDefinition] = {}


def agent(
    name: str,
    *,
    output: Any,
    tools: Sequence[Tool] = (),
    instructions: str,
    version: int = 1,
    model: str | None = None,
    script: Callable[..., Any] | None = None,
    limits: Limits | None = None,
    bind: Callable[[Any], Mapping[str, Any]] | None = None,
) -> AgentDefinition:
    """Define an agent in an agents.py and register it.

    `output` is str or the pydantic model of the answer, `script` the function that plays the model where none
    is live. `bind` says, from the deps of a run, which arguments the workflow fixes for every tool that takes
    them: the model neither sees nor sets them. Raises ValueError when the definition cannot work or the name
    and version are taken.
    """
    definition = AgentDefinition(
        name, version, output, tuple(tools), instructions, model, script, limits or Limits(), bind
    )
    _check(definition)
    _agents[name, version] = definition
    return definition


def _check(definition: AgentDefinition) -> None:
    name, label = definition.name, f"agent {definition.name!r} version {definition.version}"
    if not NAME.fullmatch(name):
        raise ValueError(f"{label}: a name is lower-case letters, digits and hyphens, such as refund-analyst")
    if definition.version < 1:
        raise ValueError(f"{label}: versions count from 1")
    if (name, definition.version) in _agents:
        raise ValueError(f"{label} is defined twice; give the second another name or a higher version")
    if strange := [item for item in definition.tools if not isinstance(item, Tool)]:
        raise ValueError(f"{label}: {strange[0]!r} is not a tool; decorate it with @tool in a tools.py")
    names = [item.name for item in definition.tools]
    if twice := sorted({item for item in names if names.count(item) > 1}):
        raise ValueError(f"{label} lists {twice[0]} twice")


def get(name: str, version: int | None = None) -> AgentDefinition:
    """The agent of this name, the newest version unless one is given. Raises UnknownAgent."""
    versions = {known: item for (other, known), item in _agents.items() if other == name}
    wanted = max(versions, default=0) if version is None else version
    if wanted not in versions:
        there = ", ".join(sorted({f"{other} {known}" for other, known in _agents})) or "none"
        raise UnknownAgent(f"There is no agent {name!r} version {version or 'any'}. Defined are: {there}.")
    return versions[wanted]


def users_of(tool: str) -> list[str]:
    """The agents that may propose the tool of this name, each with its version."""
    users = [item for _, item in sorted(_agents.items()) if tool in {each.name for each in item.tools}]
    return [f"agent {item.name} version {item.version}" for item in users]


def names() -> list[str]:
    """The names of all agents."""
    return sorted({name for name, _ in _agents})


def discover() -> None:
    """Import agents.py of every installed app, as Django does with admin.py; call it once they are ready."""
    autodiscover_modules("agents")
