"""Replay without effects: a workflow's code against a record, and the first place where the two part."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from runs import workflow
from runs.context import Run as Handle
from runs.gate import Next, Rejected
from runs.models import CLEAN_UP, Run, Step
from runs.replays.report import Divergence, Report, Side, Verdict
from runs.replays.turn import SETTLED, Forbidden, Record, ReplayTurn, reads_only
from runs.services.record import found_run
from runs.states import RunState, StepState
from runs.stops import Diverged, EndOfRecord, NeedsAttention, Restarting, named
from runs.workflow import Workflow

RESTARTED = "restarted"


def replay_run(run_id: str, version: int | None = None) -> Report:
    """Replay the run `run_id` against the code of its version, or of `version`. Writes and does nothing.

    Raises NotFound when there is no such run.
    """
    run = found_run(run_id)
    steps = list(run.steps.exclude(path__contains="~").order_by("position"))
    return replay(Record(run, steps), version)


def replay(record: Record, version: int | None = None) -> Report:
    """Replay `record` against the code of its version, or of `version`. Writes and does nothing."""
    run = copy(record.run)
    run.version = run.version if version is None else version
    try:
        definition = workflow.get(run.workflow, run.version)
    except workflow.UnknownWorkflow as error:
        return Report(
            run.id, run.workflow, run.version, run.state, Verdict.MISSING_CODE, 0, problem=str(error)
        )
    if run.purged_at is not None:
        told = "its contents are no longer kept, so there is nothing to compare"
        return Report(run.id, run.workflow, run.version, run.state, Verdict.UNREADABLE, 0, problem=told)
    return _Replay(run, record, definition).report()


@dataclass(frozen=True)
class _Ending:
    """How the workflow's code ended by itself."""

    state: str
    output: Any

    @property
    def what(self) -> str:
        if self.state == RunState.SUCCEEDED:
            return "the end of the workflow"
        if self.state == RESTARTED:
            return "to go on as a fresh run"
        error = self.output["error"]
        return f"to end as {self.state}: {error['type']}: {error['message']}"


@dataclass
class _Replay:
    """One replay of one record."""

    run: Run
    record: Record
    definition: Workflow
    compared: set[str] = field(default_factory=set)

    def report(self) -> Report:
        try:
            with reads_only():
                goes_on = self._workflow()
                goes_on = self._clean_up() or goes_on
        except Diverged as parted:
            recorded = Side(parted.recorded, parted.recorded_arguments)
            asked = Side(parted.asked, parted.asked_arguments)
            return self._report(Verdict.DIVERGED, divergence=Divergence(parted.path, recorded, asked))
        except NeedsAttention as reason:
            missing = reason.code == "missing_code"
            verdict = Verdict.MISSING_CODE if missing else Verdict.UNREADABLE
            return self._report(verdict, problem=reason.sentence)
        except Forbidden as error:
            return self._report(Verdict.UNREADABLE, problem=str(error).rstrip("."))
        return self._report(Verdict.MATCHES, goes_on=goes_on)

    def _report(self, verdict: Verdict, **found: Any) -> Report:
        run = self.run
        return Report(run.id, run.workflow, run.version, run.state, verdict, len(self.compared), **found)

    # The workflow itself

    def _workflow(self) -> str:
        turn = self._turn()
        try:
            ending = self._ending(turn)
        except EndOfRecord as end:
            return self._at_the_end_of_the_record(turn, end)
        self._nothing_left_out(turn, ending)
        return self._compare(ending)

    def _turn(self) -> ReplayTurn:
        turn = ReplayTurn(self.run, self.record)
        turn.compared = self.compared
        return turn

    def _ending(self, turn: ReplayTurn) -> _Ending:
        try:
            output = self.definition.function(Handle(turn), self.definition.read_input(self.run.input))
            turn.go_on_only_if_running()
            return _Ending(RunState.SUCCEEDED, self.definition.write_output(output))
        except Rejected as verdict:
            state = RunState.CANCELLED if verdict.next is Next.STOP else RunState.FAILED
            error = {"type": type(verdict).__name__, "message": str(verdict), "by": verdict.by}
            return _Ending(state, {"error": error})
        except Restarting as again:
            return _Ending(RESTARTED, again.value)
        except Forbidden:
            raise
        except Exception as error:
            return _Ending(RunState.FAILED, {"error": _told(error)})

    def _at_the_end_of_the_record(self, turn: ReplayTurn, end: EndOfRecord) -> str:
        step = turn.steps.get(end.path)
        asked = named(end.kind, end.name)
        for other in self._passed_over(turn, end.path):
            raise Diverged(
                end.path, f"nothing, and then {named(other.kind, other.name)} at step {other.path}", asked
            )
        parent = turn.steps.get(end.path.rpartition("/")[0])
        if step is None and parent is not None and parent.state in SETTLED:
            raise Diverged(end.path, f"the end of {named(parent.kind, parent.name)}", asked)
        if step is None and self._ended_by_itself():
            raise Diverged(end.path, _recorded_end(self.run), asked, recorded_arguments=self.run.output)
        return _goes_on(end, step)

    def _passed_over(self, turn: ReplayTurn, path: str) -> Iterator[Step]:
        """Steps on record beyond a place at which nothing is: whoever recorded them did not stop there."""
        before, _, place = path.rpartition("/")
        if path in turn.steps or not place.isdigit():
            return
        for step in self.record.steps:
            around, _, other = step.path.rpartition("/")
            beyond = around == before and other.isdigit() and int(other) > int(place)
            if beyond and step.path not in turn.visited:
                yield step

    def _nothing_left_out(self, turn: ReplayTurn, ending: _Ending) -> None:
        for step in self.record.steps:
            if "/" not in step.path and step.kind != "patch" and step.path not in turn.visited:
                recorded = named(step.kind, step.name)
                raise Diverged(step.path, recorded, ending.what, recorded_arguments=step.arguments)

    def _compare(self, ending: _Ending) -> str:
        run = self.run
        if not self._ended_by_itself():
            return f"it goes on {'' if ending.what.startswith('to ') else 'to '}{ending.what}"
        if ending.state == RESTARTED and run.continued_by:
            return "it has gone on as a fresh run"
        same_state = ending.state == run.state
        if not same_state or _comparable(ending.output) != _comparable(run.output):
            raise Diverged(
                "end",
                _recorded_end(run),
                ending.what if not same_state else "another output",
                recorded_arguments=_comparable(run.output),
                asked_arguments=_comparable(ending.output),
            )
        return "it has ended, with the recorded output"

    def _ended_by_itself(self) -> bool:
        """Whether the workflow's own code ended the run, and no person or limit did."""
        if not self.run.ended:
            return False
        error = self.run.output.get("error") if isinstance(self.run.output, dict) else None
        cut_short = any(
            step.state in (StepState.CANCELLED, StepState.UNKNOWN) and "/" not in step.path
            for step in self.record.steps
        )
        if self.run.state == RunState.CANCELLED:
            return isinstance(error, dict) and error.get("type") in ("Rejected", "Expired")
        return self.run.state == RunState.SUCCEEDED or not cut_short

    # Its clean-up

    def _clean_up(self) -> str:
        recorded = [step for step in self.record.steps if step.path.startswith(CLEAN_UP)]
        if not recorded:
            return ""
        first = recorded[0]
        if self.definition.on_cancel is None:
            raise Diverged(first.path, named(first.kind, first.name), "no clean-up at all")
        turn = self._turn()
        try:
            self.definition.on_cancel(Handle(turn, CLEAN_UP), self.definition.read_input(self.run.input))
            turn.go_on_only_if_running()
        except EndOfRecord as end:
            return self._at_the_end_of_the_record(turn, end)
        except Forbidden:
            raise
        except Exception as error:
            return f"its clean-up fails: {type(error).__name__}: {error}"
        for step in recorded:
            if step.path.count("/") == 1 and step.path not in turn.visited:
                raise Diverged(step.path, named(step.kind, step.name), "the end of the clean-up")
        return "its clean-up is done" if not self.run.ended else "it has ended, cleaned up as recorded"


def _told(error: Exception) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error)[:2000]}


def _comparable(output: Any) -> Any:
    """An output without the lines of code that a failure came from: they move with every edit."""
    error = output.get("error") if isinstance(output, dict) else None
    if not isinstance(error, dict):
        return output
    return output | {"error": {name: value for name, value in error.items() if name != "where"}}


def _recorded_end(run: Run) -> str:
    if run.continued_by:
        return "to go on as a fresh run"
    if run.state == RunState.SUCCEEDED:
        return "the end of the workflow, with its output"
    return f"the end of the run as {run.state}"


def _goes_on(end: EndOfRecord, step: Step | None) -> str:
    at = f"step {end.path}, {named(end.kind, end.name)}"
    if step is None:
        return f"it goes on with {at}"
    if step.state == StepState.CANCELLED:
        return f"it was stopped at {at}"
    return f"it goes on at {at}, which is {step.state}"
