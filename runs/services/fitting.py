"""Whether the code fits the beginning of a record, asked before a verb has a run go on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runs.models import Run, Step
from runs.replays.report import Report
from runs.replays.turn import Record
from runs.services.record import NotPossible
from runs.states import RunState

Replay = Callable[[Record, int | None], Report]
_COLUMNS = [field.attname for field in Run._meta.concrete_fields if not field.generated]
#: As a run that goes on, however the one on record has ended.
_GOES_ON = {"state": RunState.QUEUED.value, "output": None, "finished_at": None, "continued_by": ""}
_replay: Replay


def replay_with(replay: Replay) -> None:
    """Let `replay` compare code and records: it is built upon the verbs. Called when Django is ready."""
    global _replay
    _replay = replay


def must_fit(
    origin: Run, kept: Sequence[Step], at_path: str, *, version: int | None = None, **other: str
) -> None:
    """Raises NotPossible when the code asks for other steps than `kept`, those of `origin` before `at_path`.

    It is replayed without effects, as the version and with the `other` columns of the run that goes on from
    there. Code that is missing, or that cannot be replayed, is left to whoever goes on.
    """
    run = Run(**{name: getattr(origin, name) for name in _COLUMNS} | _GOES_ON | other)
    report = _replay(Record(run, kept), version)
    if report.divergence is not None:
        first = report.divergence.path.partition("/")[0]
        raise NotPossible(
            f"{origin.id} cannot be taken up at step {at_path}, because the code does not fit what is on "
            f"record before it: {report.sentence}. Nothing was done. Deploy the code that fits, or choose "
            f"step {first}.",
            code="diverged",
        )
