"""@workflow: a plain function with a name, a version and a contract for its input and output."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar, get_type_hints

from django.utils.module_loading import autodiscover_modules
from pydantic import TypeAdapter, ValidationError

from tools.canonical import in_kept_order, normalise
from tools.contract import QUEUE
from tools.signature import adapter_of, plain

Fn = TypeVar("Fn", bound=Callable[..., Any])


BUILT_IN = "holdpoint."  # how the names of the project's own workflows begin


class UnknownWorkflow(LookupError):
    """No workflow of that name and version is registered."""


class InvalidInput(ValueError):
    """The input does not fit the workflow's schema; `problems` lists each place and what is wrong there."""

    def __init__(self, workflow: str, problems: list[str]) -> None:
        super().__init__(f"The input does not fit {workflow}: " + "; ".join(problems))
        self.problems = problems


class InvalidOutput(ValueError):
    """What a workflow returned does not fit its annotation, or is no JSON; `problems` lists each place."""

    def __init__(self, workflow: str, problems: list[str]) -> None:
        super().__init__(f"What {workflow} returned does not fit its annotation: " + "; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Budget:
    """What one run may use up. None: no limit of its own."""

    model_requests: int | None = None
    tool_calls: int | None = None
    cost_usd: float | None = None  # of requests whose price is known
    days: float | None = None  # from the start to the end, waits included
    tokens: int | None = None  # input and output together
    retries: int | None = None  # further attempts of all steps together
    active_seconds: float | None = None  # that workers spend on it
    cost_usd_a_day: float | None = None  # of all runs of the workflow together, from midnight UTC


@dataclass(frozen=True)
class Keep:
    """How many days after its end what a run held is kept. None: as the settings say; 0: for ever."""

    contents_days: int | None = None  # input, output, arguments, results, messages, details in the journal
    artifacts_days: int | None = None


@dataclass(frozen=True)
class Workflow:
    """A registered workflow: what `start_run` starts and the engine replays."""

    name: str
    version: int
    function: Callable[..., Any]
    owner: str = ""
    unit: str = ""
    budget: Budget = field(default_factory=Budget)
    queue: str = "runs"
    input_type: Any = None
    output_type: Any = None
    on_cancel: Callable[..., Any] | None = None
    expected: timedelta | None = None
    at_most: int | None = None
    at_most_per_key: int | None = None
    limit_key: Callable[[Any], str] | None = None
    keep: Keep = Keep()

    @property
    def built_in(self) -> bool:
        """Whether it is part of the project, and not one of the users' own."""
        return self.name.startswith(BUILT_IN)

    @property
    def description(self) -> str:
        """The first line of its docstring, for lists."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of its input."""
        return self._input.json_schema()

    def check_input(self, value: Any) -> Any:
        """The input as it is recorded: JSON that fits the schema, defaults filled in. Raises InvalidInput."""
        adapter = self._input
        try:
            written = adapter.dump_python(adapter.validate_python(value), mode="json")
            return in_kept_order(normalise(written))
        except ValidationError as error:
            raise InvalidInput(self.name, [_problem(item) for item in error.errors()]) from None
        except ValueError as error:  # NotJson, and whatever pydantic cannot write
            raise InvalidInput(self.name, [str(error)]) from None

    def read_input(self, recorded: Any) -> Any:
        """The recorded input as the typed value that the function takes."""
        return self._input.validate_python(recorded)

    def read_output(self, recorded: Any) -> Any:
        """The recorded output as the typed value that the function returned."""
        return self._output.validate_python(recorded)

    def write_output(self, value: Any) -> Any:
        """What the function returned, as JSON that fits its annotation. Raises InvalidOutput."""
        adapter = self._output
        try:
            written = adapter.dump_python(adapter.validate_python(value), mode="json")
            return in_kept_order(normalise(written))
        except ValidationError as error:
            raise InvalidOutput(self.name, [_problem(item) for item in error.errors()]) from None
        except ValueError as error:  # NotJson, and whatever pydantic cannot write
            raise InvalidOutput(self.name, [str(error)]) from None

    @cached_property
    def _input(self) -> TypeAdapter[Any]:
        return adapter_of(self.input_type)

    @cached_property
    def _output(self) -> TypeAdapter[Any]:
        return adapter_of(self.output_type)


def _problem(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "the whole"
    return f"{place}: {plain(item['type'], item['msg'])}"


_registry: dict[tuple[str, int], Workflow] = {}


def workflow(
    name: str,
    *,
    version: int = 1,
    owner: str = "",
    unit: str = "",
    budget: Budget | None = None,
    queue: str = "runs",
    on_cancel: Callable[..., Any] | None = None,
    expected: timedelta | None = None,
    at_most: int | None = None,
    at_most_per_key: int | None = None,
    limit_key: Callable[[Any], str] | None = None,
    keep: Keep | None = None,
) -> Callable[[Fn], Fn]:
    """Register a function ``(run, input) -> output`` as version `version` of the workflow `name`.

    `owner` and `unit` say whose it is and what one run does. `on_cancel`, a function ``(run, input)``, is run
    when a person cancels a run. `expected` is how long one usually takes; longer ones are pointed out.
    `at_most` limits how many runs are under way at a time, `at_most_per_key` how many of one key, which
    `limit_key` takes from the input. `keep` is how long what ended runs held is kept.

    Its code must do nothing but compute between calls on `run`: it is run again from the top after every
    wait and every crash, with recorded results. Raises ValueError for a second function of the same name and
    version, and TypeError when the parameters or their annotations are missing.
    """

    if not QUEUE.fullmatch(queue):
        raise ValueError(f"Workflow {name}: {queue!r} cannot be a queue; use a to z, 0 to 9, _, . and -.")
    _check_limits(name, at_most, at_most_per_key, limit_key)

    def register(function: Fn) -> Fn:
        if name.startswith(BUILT_IN) and function.__module__ != "runs.workflows":
            raise ValueError(f"Workflow {name}: names that begin with {BUILT_IN} are the project's own.")
        input_type, output_type = _types_of(name, function)
        made = Workflow(
            name,
            version,
            function,
            owner,
            unit,
            budget or Budget(),
            queue,
            input_type,
            output_type,
            on_cancel,
            expected,
            at_most,
            at_most_per_key,
            limit_key,
            keep or Keep(),
        )
        known = _registry.get((name, version))
        if known is not None and known.function.__qualname__ != function.__qualname__:
            raise ValueError(
                f"Workflow {name} version {version} is already {known.function.__module__}."
                f"{known.function.__qualname__}; give this one another name or version."
            )
        _registry[name, version] = made
        return function

    return register


def _check_limits(name: str, at_most: int | None, per_key: int | None, key: object) -> None:
    if any(limit is not None and limit < 1 for limit in (at_most, per_key)):
        raise ValueError(f"Workflow {name}: a limit is 1 or more; leave it out for no limit.")
    if (per_key is None) != (key is None):
        raise ValueError(f"Workflow {name}: at_most_per_key and limit_key go together.")


def _types_of(name: str, function: Callable[..., Any]) -> tuple[Any, Any]:
    parameters = list(inspect.signature(function).parameters)
    hints = get_type_hints(function)
    if len(parameters) != 2 or parameters[1] not in hints:
        raise TypeError(
            f"Workflow {name} must take two parameters, the run and its annotated input: "
            f"def {function.__name__}(run: Run, case: Case) -> Result"
        )
    return hints[parameters[1]], hints.get("return", Any)


def get(name: str, version: int | None = None) -> Workflow:
    """The workflow of that name and version; without a version, its newest. Raises UnknownWorkflow."""
    versions = versions_of(name)
    chosen = version if version is not None else max(versions, default=0)
    found = _registry.get((name, chosen))
    if found is None:
        raise UnknownWorkflow(_unknown(name, version, versions))
    return found


def versions_of(name: str) -> list[int]:
    """The registered versions of that workflow, oldest first; none when there is no such workflow."""
    return sorted(v for n, v in _registry if n == name)


def _unknown(name: str, version: int | None, versions: list[int]) -> str:
    if versions:
        return f"Workflow {name} has no version {version}; registered: {', '.join(map(str, versions))}."
    names = sorted({n for n, _ in _registry})
    return f"There is no workflow called {name}. Known: {', '.join(names) or 'none'}."


def name_of(function: Callable[..., Any]) -> str:
    """The name that `function` is registered under. Raises TypeError when it is no workflow."""
    for known in _registry.values():
        if known.function is function:
            return known.name
    raise TypeError(f"{function!r} is no workflow; decorate it with @workflow in a workflows.py")


def all_workflows() -> list[Workflow]:
    """Every registered version of the users' workflows, by name and version; not the project's own."""
    return [_registry[key] for key in sorted(_registry) if not _registry[key].built_in]


def discover() -> None:
    """Import ``workflows.py`` of every installed app."""
    autodiscover_modules("workflows")
