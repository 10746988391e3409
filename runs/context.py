"""``Run`` as workflow code sees it: every act goes through here, is recorded, and is read back on replay."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from runs.agent import AgentDefinition
from runs.artifacts import MAX_TITLE, Kept, checked_name, content_of
from runs.steps.agent import run_agent_step
from runs.steps.artifact import keep_artifact, newest, read_artifact
from runs.steps.branch import Later, gather, race, run_branch
from runs.steps.child import order, run_child
from runs.steps.message import seconds_of, wait_for_message
from runs.steps.patch import patched
from runs.steps.progress import report
from runs.steps.proposal import Proposal
from runs.steps.question import Asked, ask
from runs.steps.restart import restart
from runs.steps.tool import read_back, run_tool
from runs.steps.value import record_value
from runs.steps.wait import sleep_until
from runs.turns.lanes import Lane
from runs.turns.turn import Turn
from runs.typed import typed
from tools.canonical import normalise
from tools.contract import Tool

if TYPE_CHECKING:
    from runs.agents.run import AgentResult


class Run:
    """The handle a workflow gets. Its calls are numbered in the order the code makes them."""

    def __init__(self, turn: Turn, below: str = "", *, at: str = "") -> None:
        self._turn = turn
        self._below = below
        self._at = at  # the one place of a branch that is a single act
        self._calls = 0
        self._lane: Lane | None = None  # the branch whose code it belongs to

    @property
    def id(self) -> str:
        """The run's id, such as run_0…"""
        return self._turn.run.id

    @property
    def requester(self) -> str:
        """The actor who asked for the run, such as user:ana."""
        return self._turn.run.requester

    def tool(
        self,
        tool: Tool,
        /,
        *args: Any,
        why: str = "",
        evidence: Sequence[Any] = (),
        confidence: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call `tool` with the arguments of its function and return its result as the type it declares.

        `why`, `evidence` and `confidence` (0 to 1) are for the reviewer, if the gate asks one. Raises
        tools.failures.Refused when the tool's own rules say no, runs.gate.Rejected (or Expired) when a person
        does, InvalidArguments, and ToolFailed when it failed for good.
        """
        arguments = tool.validate(tool.bind(*args, **kwargs))
        return self._call(tool, arguments, why=why, evidence=evidence, confidence=confidence)

    def _call(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        *,
        why: str,
        evidence: Sequence[Any] = (),
        confidence: float | None = None,
    ) -> Any:
        shown = [item if isinstance(item, dict) else normalise(item) for item in evidence]
        proposal = Proposal(
            self._next(), tool, arguments, why=why, evidence=normalise(shown), confidence=confidence
        )
        return read_back(self._turn, proposal, run_tool(self._turn, proposal))

    def agent(
        self, definition: AgentDefinition, prompt: Any, *, deps: Any = None, feedback: str | None = None
    ) -> Any:
        """Run an agent to its answer and return that answer (the agent's output type).

        `prompt` is text or a value shown as JSON, `deps` what the workflow binds for its tools, `feedback`
        what a reviewer wrote about the last draft. Raises AgentFailed, and Rejected when a reviewer wants to
        stop.
        """
        return self.ask_agent(definition, prompt, deps=deps, feedback=feedback).output

    def ask_agent(
        self, definition: AgentDefinition, prompt: Any, *, deps: Any = None, feedback: str | None = None
    ) -> AgentResult:
        """As `agent`, with usage, model and stated reasoning beside the answer."""
        return run_agent_step(self._turn, self._next(), definition, prompt, deps=deps, feedback=feedback)

    def sleep(self, seconds: float) -> None:
        """Go on no earlier than `seconds` from now. Costs one row meanwhile."""
        sleep_until(self._turn, self._next(), None, float(seconds))

    def sleep_until(self, moment: datetime) -> None:
        """Go on no earlier than `moment` (aware), by the database's clock."""
        if moment.tzinfo is None:
            raise ValueError("sleep_until needs a moment with a time zone")
        sleep_until(self._turn, self._next(), moment, None)

    def now(self) -> datetime:
        """The moment this line was first reached, by the database's clock; the same on every replay."""
        taken = record_value(self._turn, self._next(), "now", lambda: self._turn.now().isoformat())
        return datetime.fromisoformat(taken)

    def uuid(self) -> uuid.UUID:
        """A random UUID, the same on every replay."""
        return uuid.UUID(record_value(self._turn, self._next(), "uuid", lambda: str(uuid.uuid4())))

    def random(self) -> float:
        """A random number from 0 to below 1, the same on every replay. Not for secrets."""
        taken: float = record_value(self._turn, self._next(), "random", random.random)
        return taken

    # People and other systems

    def ask(
        self,
        question: str,
        type: Any = str,
        to: str = "",
        timeout: float | timedelta | None = None,
        evidence: Sequence[Any] = (),
    ) -> Any:
        """Ask a person and return the answer as `type` (anything pydantic understands).

        `to` is the name of a group, or ``user:`` and a username; empty for everyone who may answer. `timeout`
        is in seconds or a timedelta. Raises TimedOut (runs.steps.message) when nobody answers in time.
        """
        return ask(
            self._turn, self._next(), Asked(question, typed(type), to, seconds_of(timeout), tuple(evidence))
        )

    def wait_for(self, name: str, type: Any = Any, timeout: float | timedelta | None = None) -> Any:
        """The oldest message `name` from outside that was not taken yet, as `type`; waits until there is one.

        `timeout` is in seconds or a timedelta. Raises TimedOut when none was sent in time, and InvalidMessage
        (both runs.steps.message) for one that does not fit the type: it is taken, the next call gets the
        next.
        """
        return wait_for_message(self._turn, self._next(), name, typed(type), seconds_of(timeout))

    # What others see

    def artifact(self, name: str, content: Any, *, title: str = "", media_type: str = "") -> Kept:
        """Keep `content` (text, bytes or JSON) as a new version of the output `name`.

        Raises ArtifactTooLarge (runs.artifacts), NotJson, and ValueError for a name that cannot be.
        """
        kept = content_of(content, media_type)
        return keep_artifact(
            self._turn, self._next(), checked_name(name), kept, str(normalise(title))[:MAX_TITLE]
        )

    def read_artifact(self, which: Kept | str) -> Any:
        """The content of what `artifact` returned, or of the newest version of that name, as it was given.

        Raises NoSuchArtifact when the run has kept nothing of that name.
        """
        kept = newest(self._turn, self._next(), which) if isinstance(which, str) else which
        return read_artifact(self._turn, kept)

    def progress(self, text: str, done: float | None = None, of: float | None = None) -> None:
        """Say how far the run has come, such as ``run.progress("Letters sent", 40, 120)``: a line in its
        journal, once.
        """
        report(self._turn, self._next(), text, done, of)

    def patched(self, change: str) -> bool:
        """Whether this run goes by the change of that name: False for runs that had come past this line
        before the change, True for all others.
        """
        return patched(self._turn, self._below, self._calls, change)

    # Other runs

    def child(
        self,
        workflow: Callable[..., Any] | str,
        value: Any,
        *,
        key: str = "",
        wait: bool = True,
        version: int | None = None,
        intent: str = "",
    ) -> Any:
        """Run another workflow (its function, or its name) with the input `value`, and return its result as
        the type it declares; without `wait`, the id of the new run at once.

        The child is a run of its own, with workers, budget and page of its own, asked for by the same
        requester. `key` is its business key, `version` the version to run (the newest that may start runs,
        unless given), `intent` what it is for. Raises ChildFailed and ChildCancelled (runs.steps.child),
        UnknownWorkflow and InvalidInput.
        """
        asked = order(workflow, value, key, wait, version, intent)
        return run_child(self._turn, self._next(), asked)

    def restart(self, value: Any) -> NoReturn:
        """End this run here and go on as a fresh one of the same workflow with the input `value`: for loops
        whose history must not grow for ever. Never returns.

        Raises InvalidInput, and RuntimeError inside a branch or a clean-up: only the main line can restart.
        """
        if self._at or self._below or self._turn.lanes.current() is not None:
            raise RuntimeError(
                "run.restart ends the whole run, so it is called on the workflow's own run: not in a branch, "
                "in run.later or in a clean-up"
            )
        restart(self._turn, value)

    # Side by side

    def later(self, what: Any, /, *args: Any, **kwargs: Any) -> Later:
        """Something for `gather` or `race` to do: a tool, an agent, a method of this run (``run.child``,
        ``run.sleep``, …) or a function of yours ``(run, …)``, with its arguments. Nothing is done yet.

        A function is a branch: what it does through the run it is given stands below it. Raises TypeError
        for anything else.
        """
        path = self._next()
        here = Run(self._turn, at=path)
        if isinstance(what, Tool):
            return Later(path, what.name, partial(here.tool, what, *args, **kwargs))
        if isinstance(what, AgentDefinition):
            return Later(path, what.name, partial(here.agent, what, *args, **kwargs))
        if getattr(what, "__self__", None) is self:
            return Later(path, what.__name__, partial(getattr(here, what.__name__), *args, **kwargs))
        if not callable(what):
            raise TypeError(
                f"run.later takes a tool, an agent, a function or a method of the run, not {what!r}"
            )
        inside = Run(self._turn, f"{path}/")
        name = getattr(what, "__qualname__", "branch").rpartition(".")[2]
        return Later(path, name, partial(inside._as_branch, path, what, args, kwargs))

    def _as_branch(self, path: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._lane = self._turn.lanes.current()
        return run_branch(self._turn, path, function, self, (args, kwargs))

    def gather(self, *laters: Later, return_failures: bool = False) -> list[Any]:
        """Do all of them side by side; their results in the order given.

        The first failure is raised and the others are given up: what waits is cancelled, what is changing
        the world is waited for and recorded. With `return_failures` all go on to their ends, and errors
        stand in the list.
        """
        return gather(self._turn, self._next(), laters, return_failures=return_failures)

    def race(self, *laters: Later) -> tuple[int, Any]:
        """Do all of them side by side until one ends: its place among them (from 0) and its result.

        The others are given up, as in `gather`. Raises the error of the first when that is how it ended.
        """
        return race(self._turn, self._next(), laters)

    def _next(self) -> str:
        if self._at:
            place, self._at = self._at, ""
            return place
        if self._turn.lanes.current() is not self._lane:
            # Numbered in the order in which branches happen to come by, it would be another on replay.
            raise RuntimeError(
                "this run belongs to the code around the branch: a branch acts through the run that it is "
                "given as its first parameter"
            )
        self._calls += 1
        return f"{self._below}{self._calls}"


def call_alone(run: Run, tool: Tool, arguments: dict[str, Any], *, why: str) -> Any:
    """The next act of `run` is this call, with arguments by name as JSON. Raises what `Run.tool` raises."""
    return run._call(tool, tool.validate(arguments), why=why)
