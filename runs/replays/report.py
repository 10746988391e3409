"""What a replay found: that the code fits the record, or the first place where the two part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What a replay found."""

    MATCHES = "matches"  # the code asks for exactly what is on record
    DIVERGED = "diverged"  # it asks for something else
    MISSING_CODE = "missing_code"  # there is no code of this version
    UNREADABLE = "unreadable"  # what would be compared is no longer kept, or the code does what no replay may


@dataclass(frozen=True)
class Side:
    """What stands on one side at a divergence; the arguments are JSON, None where they are not known."""

    what: str
    arguments: Any = None


@dataclass(frozen=True)
class Divergence:
    """Where record and code part: `path` is the step."""

    path: str
    recorded: Side
    asked: Side


@dataclass(frozen=True)
class Report:
    """What came of one replay: `steps` were compared, `goes_on` says where the code would go on."""

    run_id: str
    workflow: str
    version: int
    state: str
    verdict: Verdict
    steps: int
    goes_on: str = ""
    divergence: Divergence | None = None
    problem: str = ""

    @property
    def matches(self) -> bool:
        """Whether the code fits the record."""
        return self.verdict is Verdict.MATCHES

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        if self.divergence is not None:
            recorded, asked = self.divergence.recorded.what, self.divergence.asked.what
            return f"step {self.divergence.path}: recorded is {recorded}, the code asks for {asked}"
        many = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        return self.problem or f"{many} as recorded; {self.goes_on}"

    def as_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        parted = self.divergence
        return {
            "run": self.run_id,
            "workflow": self.workflow,
            "version": self.version,
            "state": self.state,
            "verdict": self.verdict.value,
            "steps": self.steps,
            "sentence": self.sentence,
            "goes_on": self.goes_on,
            "divergence": parted
            and {
                "path": parted.path,
                "recorded": vars(parted.recorded),
                "asked": vars(parted.asked),
            },
        }
