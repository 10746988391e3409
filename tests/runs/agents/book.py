"""A turn that keeps its record in a dict: what an agent needs of the engine, and a way to crash anywhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runs.agent import AgentDefinition
from runs.agents.port import JSON, Approved, Decision, Denied, Held, Recorded, ToolFailed, Usage
from runs.stops import Diverged
from tools.contract import Tool
from tools.failures import Failure, FailureClass, Refused, ToolError, classify


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Row:
    """One step."""

    kind: str
    name: str
    fingerprint: str
    arguments: JSON
    state: str = "started"
    result: JSON = None
    usage: Usage | None = None
    sentence: str = ""
    failure: Failure | None = None


@dataclass
class Book:
    """What is on record; it outlives the turns that write it. `decisions` are by path of the tool step."""

    rows: dict[str, Row] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    opened: dict[str, dict[str, Any]] = field(default_factory=dict)
    needs_person: set[str] = field(default_factory=set)
    whys: dict[str, str] = field(default_factory=dict)
    world: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    moments: int = 0

    def turn(self, crash_at: int | None = None) -> Turn:
        """A turn on the calling thread that crashes at the given moment."""
        return Turn(self, crash_at)

    def states(self) -> dict[str, str]:
        """The state of each step by path."""
        return {path: row.state for path, row in self.rows.items()}


class Turn:
    """The port as one turn provides it."""

    def __init__(self, book: Book, crash_at: int | None) -> None:
        self.book = book
        self.crash_at = crash_at
        self.moments = 0
        self.home = threading.get_ident()

    def _moment(self) -> None:
        assert threading.get_ident() == self.home, "the port was called on another thread than the turn's"
        self.moments += 1
        self.book.moments = max(self.book.moments, self.moments)
        if self.moments == self.crash_at:
            raise Crash(f"at moment {self.moments}")

    def recorded(self, path: str, kind: str, name: str, fingerprint: str) -> Recorded | None:
        self._moment()
        row = self.book.rows.get(path)
        if row is None:
            return None
        if (row.kind, row.name, row.fingerprint) != (kind, name, fingerprint):
            raise Diverged(path, f"{row.kind} {row.name}", f"{kind} {name}")
        if row.state == "started":
            return None
        return Recorded(row.result, row.usage, row.failure)

    def begin(
        self, path: str, kind: str, name: str, fingerprint: str, arguments: JSON, timeout: float
    ) -> None:
        self._moment()
        self.book.rows[path] = Row(kind, name, fingerprint, arguments)
        self._moment()

    def finish(self, path: str, result: JSON, usage: Usage | None, sentence: str) -> None:
        self._moment()
        row = self.book.rows[path]
        row.state, row.result, row.usage, row.sentence = "succeeded", result, usage, sentence
        self._moment()

    def fail(self, path: str, error: BaseException) -> None:
        self._moment()
        row = self.book.rows[path]
        row.failure = classify(error)
        row.state = "refused" if row.failure.kind is FailureClass.REFUSED else "failed"
        self._moment()

    def call_tool(
        self, path: str, tool: Tool, arguments: Mapping[str, Any], why: str, agent: AgentDefinition
    ) -> JSON:
        if tool.effect.changes_the_world:
            assert isinstance(self._decision(path, tool), Approved), "nothing passes the gate undecided"
        recorded = self.recorded(path, "tool", tool.name, "")
        if recorded is None:
            self.begin(path, "tool", tool.name, "", dict(arguments), tool.timeout)
            self._invoke(path, tool, arguments)
            recorded = self.recorded(path, "tool", tool.name, "")
        assert recorded is not None
        if recorded.failure is not None and recorded.failure.kind is FailureClass.REFUSED:
            raise Refused(recorded.failure.message)
        if recorded.failure is not None:
            raise ToolFailed(recorded.failure)
        return recorded.result

    def _invoke(self, path: str, tool: Tool, arguments: Mapping[str, Any]) -> None:
        try:
            result = tool.invoke(arguments, key=path)
        except ToolError as error:
            self.fail(path, error)
        else:
            if path not in [key for key, _ in self.book.world]:
                self.book.world.append((path, {"tool": tool.name, **arguments}))
            self.finish(path, result, None, f"{tool.name} was called.")

    def review_tool(
        self, path: str, tool: Tool, arguments: Mapping[str, Any], why: str, agent: AgentDefinition
    ) -> Decision:
        self._moment()
        self.book.whys[path] = why
        decision = self._decision(path, tool)
        if isinstance(decision, Held):
            self.book.opened.setdefault(path, dict(arguments))
            self._moment()
        return decision

    def _decision(self, path: str, tool: Tool) -> Decision:
        undecided = Held() if tool.name in self.book.needs_person else Approved()
        return self.book.decisions.get(path, undecided)


def no(reason: str) -> Denied:
    """A reviewer's no."""
    return Denied(reason)
